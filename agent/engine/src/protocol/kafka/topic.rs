//! Topics and what names them: a name, or an id that only metadata tells the name of (KIP-516).

use std::sync::Arc;

use super::reader::{self, Field, Reader};
use crate::held::Held;
use crate::protocol::aged::Aged;
use crate::protocol::{Learned, text};

/// Most topics whose names are remembered, of all connections. For one more, the oldest is forgotten.
const MAX_TOPICS: usize = 16_384;
/// Longest name of a topic that Kafka allows.
const MAX_NAME_BYTES: usize = 249;
/// The id that says that there is none.
const NO_ID: TopicId = [0; 16];

/// A topic's id.
pub(super) type TopicId = [u8; 16];

/// A topic, as a request or a response names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Named(Arc<str>),
    Id(TopicId),
}

impl Topic {
    /// Reads the id of a topic, or its name.
    pub(super) fn read(reader: &mut Reader<'_>, has_id: bool) -> Field<Self> {
        if has_id {
            return Ok(Topic::Id(reader.uuid()?));
        }
        Ok(Topic::Named(text::lossy(reader.string()?.unwrap_or_default(), MAX_NAME_BYTES).into()))
    }

    /// Passes over the id of a topic, or its name.
    pub(super) fn skip(reader: &mut Reader<'_>, has_id: bool) -> Field<()> {
        if has_id { reader.uuid().map(drop) } else { reader.string().map(drop) }
    }

    /// Returns its name, if it is known.
    pub(super) fn name(&self, learned: &Learned) -> Option<Arc<str>> {
        match self {
            Topic::Named(name) => Some(name.clone()),
            Topic::Id(id) => learned.lock().kafka_topics.name(id),
        }
    }
}

impl Held for Topic {
    fn held_bytes(&self) -> usize {
        match self {
            Topic::Named(name) => name.len(),
            Topic::Id(_) => 0,
        }
    }
}

/// The names of topics that connections have told with their ids.
#[derive(Debug)]
pub(in crate::protocol) struct TopicNames {
    names: Aged<TopicId, Arc<str>>,
}

impl Default for TopicNames {
    fn default() -> Self {
        Self { names: Aged::new(MAX_TOPICS) }
    }
}

impl TopicNames {
    fn name(&self, id: &TopicId) -> Option<Arc<str>> {
        self.names.get(id).cloned()
    }

    /// Notes the name of a topic.
    pub(super) fn learn(&mut self, id: TopicId, name: &[u8]) {
        let is_name = (1..=MAX_NAME_BYTES).contains(&name.len());
        if id == NO_ID || !is_name || self.names.get(&id).is_some() {
            return;
        }
        self.names.insert(id, reader::text_of(name).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_names_are_forgotten() {
        let mut names = TopicNames::default();
        let id = |number: usize| {
            let mut id = [1; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            id
        };
        (0..=MAX_TOPICS).for_each(|number| names.learn(id(number), b"orders"));
        names.learn(NO_ID, b"none");
        assert_eq!(names.name(&id(0)), None);
        assert_eq!(names.name(&id(MAX_TOPICS)).as_deref(), Some("orders"));
        assert_eq!(names.names.len(), MAX_TOPICS);
        assert_eq!(names.name(&NO_ID), None);
    }
}
