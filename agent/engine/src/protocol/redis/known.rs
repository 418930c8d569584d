//! Commands by name.

use crate::protocol::text::Lower;

/// Commands of Redis 8 and of its usual modules' prefixes, lower case and sorted.
const COMMANDS: &[&str] = &[
    "acl",
    "append",
    "asking",
    "auth",
    "bgrewriteaof",
    "bgsave",
    "bitcount",
    "bitfield",
    "bitfield_ro",
    "bitop",
    "bitpos",
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "client",
    "cluster",
    "command",
    "config",
    "copy",
    "dbsize",
    "debug",
    "decr",
    "decrby",
    "del",
    "discard",
    "dump",
    "echo",
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "exec",
    "exists",
    "expire",
    "expireat",
    "expiretime",
    "failover",
    "fcall",
    "fcall_ro",
    "flushall",
    "flushdb",
    "function",
    "geoadd",
    "geodist",
    "geohash",
    "geopos",
    "georadius",
    "georadiusbymember",
    "geosearch",
    "geosearchstore",
    "get",
    "getbit",
    "getdel",
    "getex",
    "getrange",
    "getset",
    "hdel",
    "hello",
    "hexists",
    "hexpire",
    "hexpireat",
    "hget",
    "hgetall",
    "hgetdel",
    "hgetex",
    "hincrby",
    "hincrbyfloat",
    "hkeys",
    "hlen",
    "hmget",
    "hmset",
    "hpersist",
    "hpexpire",
    "hpttl",
    "hrandfield",
    "hscan",
    "hset",
    "hsetex",
    "hsetnx",
    "hstrlen",
    "httl",
    "hvals",
    "incr",
    "incrby",
    "incrbyfloat",
    "info",
    "keys",
    "lastsave",
    "latency",
    "lcs",
    "lindex",
    "linsert",
    "llen",
    "lmove",
    "lmpop",
    "lolwut",
    "lpop",
    "lpos",
    "lpush",
    "lpushx",
    "lrange",
    "lrem",
    "lset",
    "ltrim",
    "memory",
    "mget",
    "migrate",
    "module",
    "monitor",
    "move",
    "mset",
    "msetnx",
    "multi",
    "object",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "pfadd",
    "pfcount",
    "pfmerge",
    "ping",
    "psetex",
    "psubscribe",
    "psync",
    "pttl",
    "publish",
    "pubsub",
    "punsubscribe",
    "quit",
    "randomkey",
    "readonly",
    "readwrite",
    "rename",
    "renamenx",
    "replconf",
    "replicaof",
    "reset",
    "restore",
    "role",
    "rpop",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sadd",
    "save",
    "scan",
    "scard",
    "script",
    "sdiff",
    "sdiffstore",
    "select",
    "sentinel",
    "set",
    "setbit",
    "setex",
    "setnx",
    "setrange",
    "shutdown",
    "sinter",
    "sintercard",
    "sinterstore",
    "sismember",
    "slaveof",
    "slowlog",
    "smembers",
    "smismember",
    "smove",
    "sort",
    "sort_ro",
    "spop",
    "spublish",
    "srandmember",
    "srem",
    "sscan",
    "ssubscribe",
    "strlen",
    "subscribe",
    "substr",
    "sunion",
    "sunionstore",
    "sunsubscribe",
    "swapdb",
    "sync",
    "time",
    "touch",
    "ttl",
    "type",
    "unlink",
    "unsubscribe",
    "unwatch",
    "wait",
    "waitaof",
    "watch",
    "xack",
    "xackdel",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xdel",
    "xdelex",
    "xgroup",
    "xinfo",
    "xlen",
    "xpending",
    "xrange",
    "xread",
    "xreadgroup",
    "xrevrange",
    "xsetid",
    "xtrim",
    "zadd",
    "zcard",
    "zcount",
    "zdiff",
    "zdiffstore",
    "zincrby",
    "zinter",
    "zintercard",
    "zinterstore",
    "zlexcount",
    "zmpop",
    "zmscore",
    "zpopmax",
    "zpopmin",
    "zrandmember",
    "zrange",
    "zrangebylex",
    "zrangebyscore",
    "zrangestore",
    "zrank",
    "zrem",
    "zremrangebylex",
    "zremrangebyrank",
    "zremrangebyscore",
    "zrevrange",
    "zrevrangebylex",
    "zrevrangebyscore",
    "zrevrank",
    "zscan",
    "zscore",
    "zunion",
    "zunionstore",
];
/// Commands whose names are plain words: in lower case, and with something behind them, they may as well be the first
/// field of a hash or the first setting of a list.
const WORDS: &[&str] = &[
    "append", "auth", "client", "cluster", "command", "config", "copy", "debug", "discard", "dump", "echo",
    "eval", "exec", "exists", "expire", "failover", "function", "hello", "info", "keys", "latency", "memory",
    "migrate", "module", "monitor", "move", "multi", "object", "persist", "publish", "rename", "reset",
    "restore", "role", "save", "scan", "script", "select", "sentinel", "set", "sort", "sync", "time",
    "touch", "ttl", "type", "wait", "watch",
];
/// Prefixes of commands that modules bring.
const MODULES: &[&str] = &["bf.", "cf.", "cms.", "ft.", "json.", "tdigest.", "topk.", "ts.", "vadd"];
/// Commands whose first argument is part of the command's name.
const CONTAINERS: &[&str] = &[
    "acl", "client", "cluster", "command", "config", "function", "latency", "memory", "module", "object",
    "pubsub", "script", "sentinel", "slowlog", "xgroup", "xinfo",
];
/// Second words of such commands, as far as they are usual.
const SECOND_WORDS: &[&str] = &[
    "cat",
    "count",
    "docs",
    "doctor",
    "encoding",
    "exists",
    "flush",
    "freq",
    "get",
    "getkeys",
    "getname",
    "getuser",
    "id",
    "idletime",
    "info",
    "keyslot",
    "kill",
    "list",
    "load",
    "myid",
    "no-evict",
    "no-touch",
    "nodes",
    "refcount",
    "reply",
    "resetstat",
    "rewrite",
    "set",
    "setinfo",
    "setname",
    "setuser",
    "shards",
    "slots",
    "stats",
    "tracking",
    "usage",
    "whoami",
];
/// Commands whose arguments are never recorded, since they may be passwords.
const SECRET: &[&str] = &["acl", "auth", "config", "hello", "migrate", "sentinel"];
/// Longest name of a command.
const MAX_NAME_BYTES: usize = 64;

/// Returns whether `name`, in any case, is a command that Redis knows.
pub(super) fn is_command(name: &[u8]) -> bool {
    let lower = Lower::of(name);
    let name = lower.as_slice();
    COMMANDS.binary_search_by(|command| command.as_bytes().cmp(name)).is_ok()
        || MODULES.iter().any(|module| name.starts_with(module.as_bytes()) && is_name(name))
}

/// Returns whether `name`, as it is written, may as well be data.
pub(super) fn is_word(name: &[u8]) -> bool {
    WORDS.iter().any(|word| word.as_bytes() == name)
}

/// Returns whether `name` may be the name of a command, known or not.
pub(super) fn is_name(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'|');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.iter().all(is_part)
}

/// Returns whether the first argument of `name` belongs to the command's name.
pub(super) fn is_container(name: &[u8]) -> bool {
    lists(CONTAINERS, name)
}

/// Returns whether `word` is a usual second word of a command.
pub(super) fn is_second_word(word: &[u8]) -> bool {
    lists(SECOND_WORDS, word)
}

/// Returns whether the arguments of `name` are never recorded.
pub(super) fn is_secret(name: &[u8]) -> bool {
    lists(SECRET, name)
}

fn lists(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|listed| name.eq_ignore_ascii_case(listed.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(COMMANDS.is_sorted());
    }

    #[test]
    fn commands_are_known_in_any_case() {
        for command in ["GET", "get", "zUnionStore", "acl", "JSON.GET"] {
            assert!(is_command(command.as_bytes()), "{command}");
        }
        for other in ["", "gets", "message", "HTTP", "json. get"] {
            assert!(!is_command(other.as_bytes()), "{other}");
        }
    }
}
