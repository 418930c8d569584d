module example.test/users

go 1.21
