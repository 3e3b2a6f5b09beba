//! How urgent a build is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::build::BuildReason;

/// How urgent a build is; the most urgent comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Somebody asked for this package and waits for it.
    Deploy,
    /// It was held by a quarantine that has been lifted.
    Security,
    /// An update like others.
    #[default]
    Normal,
    /// One of many that are built again, because of a library, or because somebody asked for everything.
    Mass,
}

impl Lane {
    /// Every lane, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Deploy, Self::Security, Self::Normal, Self::Mass];

    /// The lane of a build, by why it is built.
    #[must_use]
    pub const fn of(reason: BuildReason) -> Self {
        match reason {
            BuildReason::Deploy | BuildReason::Directive => Self::Deploy,
            BuildReason::Rebuild => Self::Mass,
            BuildReason::Changed | BuildReason::Trigger | BuildReason::Upstream | BuildReason::Bump => Self::Normal,
        }
    }

    /// The word used in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Security => "security",
            Self::Normal => "normal",
            Self::Mass => "mass",
        }
    }

    /// Its place from 0, the most urgent, to 3.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Deploy => 0,
            Self::Security => 1,
            Self::Normal => 2,
            Self::Mass => 3,
        }
    }

    /// The lane with this place; the last for a place that no lane has.
    #[must_use]
    pub fn of_rank(rank: u8) -> Self {
        Self::ALL.get(usize::from(rank)).copied().unwrap_or(Self::Mass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_lanes_is_that_of_their_ranks() {
        for pair in Lane::ALL.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].rank() < pair[1].rank(), "{pair:?}");
        }
        for lane in Lane::ALL {
            assert_eq!(Lane::of_rank(lane.rank()), lane);
        }
    }
}
