use std::sync::Arc;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, Default, PartialEq)]
struct Count(u64);

impl Merge for Count {
    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }
}

type Small = Capped<Arc<str>, Count, 5>;

fn filled(names: &[String]) -> Small {
    let mut map = Small::default();
    for name in names {
        map.entry(name.as_str(), || name.as_str().into()).0 += 1;
    }
    map
}

fn merged(a: &Small, b: &Small) -> Small {
    let mut sum = a.clone();
    sum.merge(b);
    sum
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-d]{1,2}", 0..60)
}

#[test]
fn nothing_overflows_below_the_limit() {
    let map = filled(&["a".into(), "b".into(), "a".into()]);
    assert_eq!(map.overflow(), None);
    assert_eq!(map.kept().map(|(name, count)| (&**name, count.0)).collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
}

proptest! {
    #[test]
    fn the_order_of_names_does_not_matter(mut names in names(), seed in any::<u64>()) {
        let one = filled(&names);
        let middle = usize::try_from(seed).unwrap_or(0) % (names.len() + 1);
        names.rotate_left(middle);
        names.reverse();
        prop_assert_eq!(one, filled(&names));
    }

    #[test]
    fn merging_equals_filling_and_keeps_every_count(a in names(), b in names(), c in names()) {
        let all: Vec<String> = [a.clone(), b.clone(), c.clone()].concat();
        let whole = filled(&all);
        let (a, b, c) = (filled(&a), filled(&b), filled(&c));
        prop_assert_eq!(merged(&merged(&a, &b), &c), whole.clone());
        prop_assert_eq!(merged(&c, &merged(&b, &a)), whole.clone());
        let counted: u64 = whole.kept().map(|(_, count)| count.0).chain(whole.overflow().map(|count| count.0)).sum();
        prop_assert_eq!(counted, all.len() as u64);
        prop_assert!(whole.kept().count() <= 5);
    }
}
