//! How much memory values hold.
//!
//! What a peer sends decides how much of it is remembered, so that what is remembered has a weight. It is weighed now and
//! then, by a walk over all of it, and never counted along: nothing can be added or dropped unnoticed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::protocol::{
    Ending, Keys, Marks, MessageKey, Name, Outcome, Received, Request, Response, Source, WireContext,
};
use crate::semconv::{Text, Value};

/// What holds memory besides its own size.
pub(crate) trait Held {
    /// None of its kind ever holds anything: a list of them need not be looked at.
    const IS_FLAT: bool = false;

    /// Returns the bytes on the heap that it holds, as far as it may hold many. What is shared counts in each place.
    fn held_bytes(&self) -> usize;
}

macro_rules! nothing_held {
    ($($kind:ty),*) => {
        $(impl Held for $kind {
            const IS_FLAT: bool = true;

            fn held_bytes(&self) -> usize {
                0
            }
        })*
    };
}

nothing_held!((), bool, u8, u16, u32, u64, i32, i64, f64, MessageKey);

impl Held for String {
    fn held_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Held for Cow<'static, str> {
    fn held_bytes(&self) -> usize {
        match self {
            Cow::Borrowed(_) => 0,
            Cow::Owned(text) => text.held_bytes(),
        }
    }
}

impl Held for Text {
    fn held_bytes(&self) -> usize {
        Text::held_bytes(self)
    }
}

impl<T: Held> Held for Option<T> {
    fn held_bytes(&self) -> usize {
        self.as_ref().map_or(0, T::held_bytes)
    }
}

impl<T: Held> Held for Box<T> {
    fn held_bytes(&self) -> usize {
        size_of::<T>() + T::held_bytes(self)
    }
}

impl<T: Held> Held for Arc<T> {
    fn held_bytes(&self) -> usize {
        size_of::<T>() + T::held_bytes(self)
    }
}

impl<T: Held, U: Held> Held for (T, U) {
    fn held_bytes(&self) -> usize {
        self.0.held_bytes() + self.1.held_bytes()
    }
}

impl<T: Held, const N: usize> Held for [T; N] {
    fn held_bytes(&self) -> usize {
        all(self)
    }
}

impl<T: Held> Held for Vec<T> {
    fn held_bytes(&self) -> usize {
        self.capacity() * size_of::<T>() + all(self)
    }
}

impl<T: Held> Held for VecDeque<T> {
    fn held_bytes(&self) -> usize {
        self.capacity() * size_of::<T>() + all(self)
    }
}

impl<K: Held, V: Held> Held for BTreeMap<K, V> {
    /// Nodes are two thirds full, or fuller.
    fn held_bytes(&self) -> usize {
        self.len() * size_of::<(K, V)>() * 3 / 2 + all(self.keys()) + all(self.values())
    }
}

impl<K: Held, V: Held, S> Held for HashMap<K, V, S> {
    /// A table is at most seven eighths full, and has a byte more for each place.
    fn held_bytes(&self) -> usize {
        self.capacity() * (size_of::<(K, V)>() + 1) * 8 / 7 + all(self.keys()) + all(self.values())
    }
}

/// Returns what all of them hold.
pub(crate) fn all<'a, T: Held + 'a>(values: impl IntoIterator<Item = &'a T>) -> usize {
    if T::IS_FLAT {
        return 0;
    }
    values.into_iter().map(T::held_bytes).sum()
}

impl Held for Value {
    fn held_bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.held_bytes(),
            Value::Texts(texts) => texts.held_bytes(),
            Value::Int(_) | Value::Double(_) | Value::Bool(_) => 0,
        }
    }
}

impl Held for WireContext {
    fn held_bytes(&self) -> usize {
        self.state.held_bytes()
    }
}

impl Held for Name {
    fn held_bytes(&self) -> usize {
        self.verb.held_bytes() + self.path.held_bytes()
    }
}

impl Held for Outcome {
    fn held_bytes(&self) -> usize {
        self.error_type.held_bytes() + self.message.held_bytes()
    }
}

impl Held for Keys {
    fn held_bytes(&self) -> usize {
        size_of_val(self.as_slice())
    }
}

impl Held for Marks {
    fn held_bytes(&self) -> usize {
        self.iter().map(|mark| size_of_val(&mark)).sum()
    }
}

impl Held for Source {
    fn held_bytes(&self) -> usize {
        self.name.held_bytes()
    }
}

impl Held for Received {
    fn held_bytes(&self) -> usize {
        self.keys.held_bytes() + self.contexts.held_bytes() + self.queue.held_bytes()
    }
}

impl Held for Request {
    fn held_bytes(&self) -> usize {
        self.name.held_bytes()
            + self.attributes.held_bytes()
            + self.context.held_bytes()
            + self.carried.held_bytes()
            + self.marks.held_bytes()
            + self.authority.as_ref().map_or(0, |(host, _)| host.held_bytes())
            + self.sent.held_bytes()
            + self.source.held_bytes()
    }
}

impl Held for Response {
    fn held_bytes(&self) -> usize {
        self.attributes.held_bytes()
            + self.outcome.held_bytes()
            + self.name.held_bytes()
            + self.sent.held_bytes()
            + self.received.held_bytes()
    }
}

impl Held for Ending {
    fn held_bytes(&self) -> usize {
        self.attributes.held_bytes() + self.outcome.held_bytes() + self.name.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semconv;

    #[test]
    fn what_is_on_the_heap_counts_with_its_room() {
        assert_eq!(String::from("abc").held_bytes(), 3);
        assert_eq!(Vec::<u64>::with_capacity(4).held_bytes(), 32);
        assert_eq!(vec![String::from("ab"), String::new()].held_bytes(), 2 * size_of::<String>() + 2);
        assert_eq!(Cow::Borrowed("told by the program").held_bytes(), 0);
        assert_eq!(Some(Box::new(7u64)).held_bytes(), 8);
        assert!(HashMap::from([(1u64, String::from("abc"))]).held_bytes() >= 3 + 32);
        assert!(BTreeMap::from([(1u64, String::from("abc"))]).held_bytes() >= 3 + 32);
    }

    #[test]
    fn requests_weigh_what_was_said() {
        let mut request = Request::default();
        assert_eq!(request.held_bytes(), 0);
        request.attributes.push((semconv::DB_QUERY_TEXT, "x".repeat(4096).into()));
        assert!((4096..5000).contains(&request.held_bytes()));
    }
}
