<?php
// Asks for users one after the other: ask.php SERVER AUTHORITY USER...
[, $server, $authority] = $argv;
$context = stream_context_create(['ssl' => ['cafile' => $authority]]);
foreach (array_slice($argv, 3) as $user) {
    if (file_get_contents("$server/users/$user", false, $context) === false) {
        exit(1);
    }
}
