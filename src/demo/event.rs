//! What happens in the world by itself, so that somebody who watches the demo has something to see.
//!
//! The order is fixed: the same step always brings the same kind of event.

use std::fmt;

use anyhow::Result;

use super::world::World;
use crate::domain::name::PkgBase;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new version whose recipe changed in nothing else.
    MinorUpdate(PkgBase, String),
    /// A new version from another host, built differently.
    MajorUpdate(PkgBase, String),
    /// A commit in the upstream of the `-git` package.
    UpstreamCommit,
    /// A push that asks for a build.
    Deploy(PkgBase),
    /// A push whose directive names no package.
    Typo,
    /// A push that cannot be built.
    Broken(PkgBase),
    /// The push that mends it.
    Fixed(PkgBase),
    /// A new package.
    Added(PkgBase),
    /// A package that left.
    Removed(PkgBase),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinorUpdate(name, version) => write!(f, "{name} {version} is on the AUR, nothing else changed"),
            Self::MajorUpdate(name, version) => {
                write!(f, "{name} {version} is on the AUR, from another host and with a changed build()")
            }
            Self::UpstreamCommit => write!(f, "the upstream of tidewatch-git has a new commit"),
            Self::Deploy(name) => write!(f, "somebody pushed [deploy {name}]"),
            Self::Typo => write!(f, "somebody pushed a directive with a typo"),
            Self::Broken(name) => write!(f, "somebody pushed a {name} that cannot be built"),
            Self::Fixed(name) => write!(f, "somebody mended {name}"),
            Self::Added(name) => write!(f, "somebody added {name}"),
            Self::Removed(name) => write!(f, "somebody removed {name}"),
        }
    }
}

/// How many steps there are before the story begins again.
const STEPS: u64 = 12;

impl World {
    /// Lets the event of this step happen.
    ///
    /// # Errors
    /// A repository of the world cannot be written, or something the step is about was taken away.
    pub async fn next_event(&mut self, step: u64) -> Result<Event> {
        let named = |name: &str| PkgBase::new(name).expect("a legal name");
        let visitor = named(&format!("driftwood-{}", step / STEPS + 1));
        Ok(match step % STEPS {
            0 => self.minor(named("knotwork")).await?,
            1 => {
                self.upstream_commit().await?;
                Event::UpstreamCommit
            }
            2 => {
                let name = named("glyph");
                self.push_deploy(&name).await?;
                Event::Deploy(name)
            }
            3 => self.minor(named("moonphase")).await?,
            4 => {
                let name = named("libspring");
                self.break_package(&name).await?;
                Event::Broken(name)
            }
            5 => {
                let name = named("banner");
                let version = self.aur_major_update(&name).await?;
                Event::MajorUpdate(name, version)
            }
            6 => {
                let name = named("libspring");
                self.fix_package(&name).await?;
                Event::Fixed(name)
            }
            7 => self.minor(named("abacus++")).await?,
            8 => {
                self.typo_directive().await?;
                Event::Typo
            }
            9 => {
                self.add_package(&visitor).await?;
                Event::Added(visitor)
            }
            10 => self.minor(named("libtally")).await?,
            _ => {
                self.remove_package(&visitor).await?;
                Event::Removed(visitor)
            }
        })
    }

    async fn minor(&self, name: PkgBase) -> Result<Event> {
        let version = self.aur_minor_update(&name).await?;
        Ok(Event::MinorUpdate(name, version))
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::demo::testing::scene;

    #[tokio::test]
    async fn the_story_can_be_told_over_and_over() {
        let mut scene = scene(0).await;
        let mut lines = Vec::new();
        for step in 0..24 {
            scene.clock.advance(SignedDuration::from_secs(10));
            lines.push(scene.world.next_event(step).await.unwrap().to_string());
        }
        insta::assert_snapshot!(lines[..12].join("\n"), @r"
        knotwork 1.2.1 is on the AUR, nothing else changed
        the upstream of tidewatch-git has a new commit
        somebody pushed [deploy glyph]
        moonphase 20260102 is on the AUR, nothing else changed
        somebody pushed a libspring that cannot be built
        banner 3.0.2 is on the AUR, from another host and with a changed build()
        somebody mended libspring
        abacus++ 0.9.5 is on the AUR, nothing else changed
        somebody pushed a directive with a typo
        somebody added driftwood-1
        libtally 2.1.1 is on the AUR, nothing else changed
        somebody removed driftwood-1
        ");
        assert_eq!(lines[12], "knotwork 1.2.2 is on the AUR, nothing else changed");
        assert_eq!(scene.world.packages().await.unwrap().len(), 14);
    }
}
