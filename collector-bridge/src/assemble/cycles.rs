//! Cycles in parent links, each span having at most one parent.

const NEVER: usize = usize::MAX;

/// Returns the cycles, each as the indices along it.
pub(super) fn find(parents: &[Option<usize>]) -> Vec<Vec<usize>> {
    let mut cycles = Vec::new();
    // The walk in which a span was first met; walks follow parents, and each span is passed once over all walks.
    let mut met_in = vec![NEVER; parents.len()];
    for start in 0..parents.len() {
        let mut at = Some(start);
        let mut path = Vec::new();
        while let Some(index) = at.filter(|index| met_in.get(*index) == Some(&NEVER)) {
            if let Some(met) = met_in.get_mut(index) {
                *met = start;
            }
            path.push(index);
            at = parents.get(index).copied().flatten();
        }
        // A walk that meets itself found a cycle: from the place where it was met to the end of the path.
        if let Some(closing) = at.filter(|index| met_in.get(*index) == Some(&start)) {
            cycles.push(path.into_iter().skip_while(|index| *index != closing).collect());
        }
    }
    cycles
}

/// Returns for each index whether it is on a cycle.
pub(super) fn members(parents: &[Option<usize>]) -> Vec<bool> {
    let mut members = vec![false; parents.len()];
    for index in find(parents).into_iter().flatten() {
        if let Some(member) = members.get_mut(index) {
            *member = true;
        }
    }
    members
}
