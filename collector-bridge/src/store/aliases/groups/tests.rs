use proptest::prelude::*;

use super::*;

fn id(number: usize) -> TraceId {
    TraceId((number as u128 + 1).to_be_bytes())
}

/// Returns how each id of a forest is known: node n has the parent `edges[n - 1]`, or is a top.
fn known_as(edges: &[(usize, usize)], count: usize) -> Vec<TraceId> {
    let mut groups = Groups::default();
    for (lower, upper) in edges {
        groups.merge(id(*lower), id(*upper), 0);
    }
    (0..count).map(|number| groups.canonical(id(number))).collect()
}

proptest! {
    #[test]
    fn a_forest_is_the_same_in_any_order(
        parents in prop::collection::vec(prop::option::weighted(0.8, any::<prop::sample::Index>()), 1..60),
        keys in prop::collection::vec(any::<u32>(), 60),
    ) {
        // The parent of each node has a smaller number, so there is no cycle.
        let edges: Vec<(usize, usize)> = parents
            .iter()
            .enumerate()
            .skip(1)
            .filter_map(|(node, parent)| Some((node, parent.as_ref()?.index(node))))
            .collect();
        let top = |mut node: usize| {
            while let Some((_, parent)) = edges.iter().find(|(lower, _)| *lower == node) {
                node = *parent;
            }
            id(node)
        };
        let expected: Vec<TraceId> = (0..parents.len()).map(top).collect();
        let mut shuffled: Vec<_> = edges.iter().copied().zip(&keys).collect();
        shuffled.sort_by_key(|(_, key)| **key);
        let shuffled: Vec<_> = shuffled.into_iter().map(|(edge, _)| edge).collect();
        prop_assert_eq!(&known_as(&edges, parents.len()), &expected);
        prop_assert_eq!(&known_as(&shuffled, parents.len()), &expected);
    }

    #[test]
    fn any_edges_leave_sound_sets(
        edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..60),
        limit in 0_usize..12,
    ) {
        let mut groups = Groups::default();
        for (lower, upper) in edges {
            groups.merge(id(lower), id(upper), 0);
            groups.keep(limit);
        }
        prop_assert!(groups.len() <= limit);
        for number in 0..12 {
            let ids = groups.ids(id(number));
            prop_assert!(ids.contains(&id(number)) && ids[0] == groups.canonical(id(number)));
            for other in &ids {
                prop_assert_eq!(&groups.ids(*other), &ids);
            }
        }
        let in_sets: usize = groups.sets.values().map(|set| set.ids.len()).sum();
        prop_assert_eq!(in_sets, groups.place_of.len());
        prop_assert!(groups.sets.values().all(|set| set.ids.len() > 1));
    }
}

#[test]
fn cycles_and_second_places_are_refused() {
    let mut groups = Groups::default();
    assert_eq!(groups.merge(id(1), id(1), 0), Merged::Same);
    assert!(matches!(groups.merge(id(2), id(1), 0), Merged::Made(_)));
    assert_eq!(groups.merge(id(2), id(1), 0), Merged::Same);
    assert_eq!(groups.merge(id(1), id(2), 0), Merged::Same);
    assert_eq!(groups.merge(id(2), id(9), 0), Merged::HasUpstream);
    assert_eq!(groups.canonical(id(2)), id(1));
}

#[test]
fn a_trace_has_no_more_ids_than_can_be_read() {
    let mut groups = Groups::default();
    let made = (1..5000).filter(|number| matches!(groups.merge(id(*number), id(0), 0), Merged::Made(_)));
    assert_eq!(made.count(), MAX_IDS - 1);
    // A chain that grows upwards is the worst order for sets that know their top.
    let mut groups = Groups::default();
    for number in 0..100_000 {
        groups.merge(id(number), id(number + 1), number as u64);
        groups.keep(2000);
    }
    assert!(groups.len() <= 2000 && groups.place_of.len() <= 4000, "{}", groups.place_of.len());
}

#[test]
fn old_aliases_are_forgotten_and_the_rest_still_known() {
    let mut groups = Groups::default();
    for (lower, at) in [(1, 10), (2, 20), (3, 30)] {
        groups.merge(id(lower), id(0), at);
    }
    groups.forget_before(20);
    assert_eq!(groups.ids(id(3)), [id(0), id(2), id(3)]);
    assert_eq!((groups.canonical(id(1)), groups.len()), (id(1), 2));
    groups.forget_before(31);
    assert_eq!((groups.ids(id(0)), groups.place_of.len(), groups.sets.len()), (vec![id(0)], 0, 0));
}
