# A service in Rack that answers /users/{id}.
run ->(env) { [env['PATH_INFO'].start_with?('/users/') ? 200 : 404, { 'content-length' => '5' }, ['found']] }
