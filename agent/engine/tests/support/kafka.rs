//! Kafka's requests, responses and batches, written by hand.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const METADATA: i16 = 3;
pub const HEARTBEAT: i16 = 12;

/// A topic's name, and the records of its partitions.
pub type Topic<'a> = (&'a str, &'a [(i32, Vec<u8>)]);

/// Returns bytes after their length.
pub fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

/// Returns a request of the client `shop`.
pub fn request(key: i16, version: i16, correlation: i32, is_flexible: bool, body: &[u8]) -> Vec<u8> {
    let head = [
        &key.to_be_bytes()[..],
        &version.to_be_bytes(),
        &correlation.to_be_bytes(),
        b"\0\x04shop",
        if is_flexible { &[0] } else { &[] },
    ];
    frame(&[&head.concat(), body].concat())
}

/// Returns a response.
pub fn response(correlation: i32, is_flexible: bool, body: &[u8]) -> Vec<u8> {
    let tags: &[u8] = if is_flexible { &[0] } else { &[] };
    frame(&[&correlation.to_be_bytes(), tags, body].concat())
}

/// Returns a zigzag number.
pub fn varint(number: i64) -> Vec<u8> {
    let mut rest = (number << 1 ^ number >> 63) as u64;
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn bytes(value: &[u8]) -> Vec<u8> {
    [varint(value.len() as i64), value.to_vec()].concat()
}

/// Returns a record with these headers.
pub fn record(value: &[u8], headers: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = [vec![0, 0, 0, 1], bytes(value), varint(headers.len() as i64)].concat();
    for (name, value) in headers {
        fields.extend(bytes(name.as_bytes()));
        fields.extend(bytes(value.as_bytes()));
    }
    [varint(fields.len() as i64), fields].concat()
}

/// A batch of records.
#[derive(Clone, Debug)]
pub struct Batch {
    pub base_offset: i64,
    pub timestamp: i64,
    pub attributes: i16,
    pub count: i32,
    pub records: Vec<u8>,
}

impl Batch {
    pub fn new(base_offset: i64, records: &[Vec<u8>]) -> Self {
        let timestamp = 1_700_000_000_000 + base_offset;
        Self { base_offset, timestamp, attributes: 0, count: records.len() as i32, records: records.concat() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let rest = [
            &0i32.to_be_bytes()[..],
            &[2],
            &[0; 4],
            &self.attributes.to_be_bytes(),
            &(self.count - 1).to_be_bytes(),
            &self.timestamp.to_be_bytes(),
            &self.timestamp.to_be_bytes(),
            &[0xff; 14],
            &self.count.to_be_bytes(),
            &self.records,
        ]
        .concat();
        [&self.base_offset.to_be_bytes()[..], &frame(&rest)].concat()
    }

    /// Returns the batch as its producer sends it: without knowing where it will stand.
    pub fn unwritten(&self) -> Vec<u8> {
        Self { base_offset: 0, ..self.clone() }.bytes()
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// Returns the topics of a Produce request of version 3 or a Fetch response, with what each partition begins with.
fn topics(topics: &[Topic<'_>], head: &[u8], neck: &[u8]) -> Vec<u8> {
    let mut body = (topics.len() as u32).to_be_bytes().to_vec();
    for (topic, partitions) in topics {
        body.extend(string(topic));
        body.extend((partitions.len() as u32).to_be_bytes());
        for (partition, records) in *partitions {
            body.extend([&partition.to_be_bytes(), head, neck, &frame(records)].concat());
        }
    }
    body
}

/// Returns the body of a Produce request of version 3.
pub fn produce(acknowledgments: i16, partitions: &[Topic<'_>]) -> Vec<u8> {
    let head = [&b"\xff\xff"[..], &acknowledgments.to_be_bytes(), &30_000i32.to_be_bytes()].concat();
    [head, topics(partitions, &[], &[])].concat()
}

/// Returns the body of the response to it: topic, partition, error and offset.
pub fn produced(topic: &str, partitions: &[(i32, i16, i64)]) -> Vec<u8> {
    let mut body =
        [&1u32.to_be_bytes()[..], &string(topic), &(partitions.len() as u32).to_be_bytes()].concat();
    for (partition, error, offset) in partitions {
        let time = (-1i64).to_be_bytes();
        body.extend(
            [&partition.to_be_bytes()[..], &error.to_be_bytes(), &offset.to_be_bytes(), &time].concat(),
        );
    }
    [body, vec![0; 4]].concat()
}

/// Returns the body of a Fetch request of version 4 for one partition.
pub fn fetch(topic: &str) -> Vec<u8> {
    let head = [-1i32, 500, 1, 1 << 20].map(i32::to_be_bytes).concat();
    let topics = [&1u32.to_be_bytes()[..], &string(topic), &1u32.to_be_bytes()].concat();
    [head, vec![0], topics, vec![0; 4 + 8 + 4]].concat()
}

/// Returns the body of the response to it.
pub fn fetched(partitions: &[Topic<'_>]) -> Vec<u8> {
    // No error, two offsets, no aborted transactions.
    let (head, neck) = ([0; 2 + 8 + 8], (-1i32).to_be_bytes());
    [vec![0; 4], topics(partitions, &head, &neck)].concat()
}
