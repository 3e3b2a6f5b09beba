//! How long it takes from the beginning of a build until the last that waits for it is done.

/// How long a build takes where nothing is known of any, in milliseconds: a minute.
pub const UNKNOWN: u64 = 60_000;

/// For each build of a wave, how long the longest chain of builds is that begins with it, in milliseconds:
/// `durations` says how long each takes, `after` which others, by their place, each comes after.
///
/// Builds that wait for each other in a circle count by themselves.
#[must_use]
pub fn paths(durations: &[u64], after: &[Vec<usize>]) -> Vec<u64> {
    let mut paths = durations.to_vec();
    let mut dependants = vec![0_usize; durations.len()];
    for &dependency in after.iter().flatten() {
        dependants[dependency] += 1;
    }
    // From those that nobody waits for, back to what they wait for.
    let mut done: Vec<usize> = (0..durations.len()).filter(|&build| dependants[build] == 0).collect();
    while let Some(build) = done.pop() {
        for &dependency in &after[build] {
            paths[dependency] = paths[dependency].max(durations[dependency].saturating_add(paths[build]));
            dependants[dependency] -= 1;
            if dependants[dependency] == 0 {
                done.push(dependency);
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_as_long_as_the_longest_chain_that_waits() {
        // 0 <- 1 <- 3, 0 <- 2
        let after = [vec![], vec![0], vec![0], vec![1]];
        assert_eq!(paths(&[1, 10, 100, 1000], &after), [1011, 1010, 100, 1000]);
    }

    #[test]
    fn a_circle_is_no_path() {
        assert_eq!(paths(&[5, 6, 7], &[vec![1], vec![0], vec![0]]), [12, 6, 7]);
    }

    proptest! {
        #[test]
        fn what_is_needed_has_a_longer_path_than_what_needs_it(
            durations in prop::collection::vec(1_u64..1000, 1..40),
            edges in prop::collection::vec((0_usize..40, 0_usize..40), 0..80),
        ) {
            let count = durations.len();
            let mut after = vec![Vec::new(); count];
            for (one, other) in edges {
                let (one, other) = (one % count, other % count);
                if one != other {
                    after[one.max(other)].push(one.min(other));
                }
            }
            let paths = paths(&durations, &after);
            for (build, dependencies) in after.iter().enumerate() {
                for &dependency in dependencies {
                    prop_assert!(paths[dependency] >= paths[build] + durations[dependency]);
                }
            }
        }
    }
}
