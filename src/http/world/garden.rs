#![expect(missing_docs, reason = "values that are used as they are need no words")]
//! A garden of packages in the middle of its day, and the plain values that it is made of.

use super::*;
use crate::controller::shelves::HeldView;
use crate::controller::view::{AskedView, EntryView, RevisionView, RevisionsView};

pub fn repository() -> RepositoryView {
    RepositoryView {
        name: "garden".into(),
        url: "/srv/garden.git".into(),
        branch: "main".into(),
        main: Some(oid(0x1a)),
        scheduled: Some(oid(0x1a)),
        packages: 0,
        reviews: 0,
        paused: false,
        looked_at: Some(ago(12)),
        error: None,
    }
}

pub fn build(id: &str, pkgbase: &str, state: BuildState) -> BuildView {
    let started = (!matches!(state, BuildState::Waiting | BuildState::Ready | BuildState::Blocked)).then(|| ago(100));
    BuildView {
        id: id.into(),
        repository: "garden".into(),
        arch: "x86_64".into(),
        pkgbase: base(pkgbase),
        commit: oid(0xc0),
        state,
        reason: BuildReason::Changed,
        class: None,
        lane: crate::domain::schedule::Lane::Normal,
        nobody: None,
        waits_for: Vec::new(),
        created: ago(160),
        started,
        ended: state.is_final().then(|| ago(28)),
        message: None,
        attempt: started.map(|_| format!("{id}.1")),
        run: Some("r1".into()),
    }
}

pub fn package(name: &str) -> PackagePage {
    let package = PackageView {
        pkgbase: base(name),
        version: Some(Version::new("1.4.2-1")),
        published: Some("1.4.2-1".into()),
        source: "aur",
        last_build: None,
        review: false,
        held: None,
        problems: 0,
    };
    PackagePage {
        package,
        pkgnames: vec![name.into()],
        needs: Vec::new(),
        needed_by: Vec::new(),
        trigger: None,
        rebuild_triggers: Vec::new(),
        libraries: Vec::new(),
        libraries_unknown: None,
        class: None,
        cursor: None,
        sources: Vec::new(),
        script: None,
        keepers: None,
        decision: None,
        revisions: revisions(),
        builds: Vec::new(),
        findings: Vec::new(),
    }
}

fn revisions() -> RevisionsView {
    let built =
        RevisionView { commit: oid(0x1a), upstream: vec!["svn:7".into()], at: Some(ago(60)), build: Some("b1".into()) };
    let observed = RevisionView { build: None, at: None, ..built.clone() };
    RevisionsView { observed: Some(observed), attempted: Some(built.clone()), succeeded: Some(built) }
}

pub fn asked() -> AskedView {
    AskedView {
        pipeline: "on-schedule".into(),
        trigger: "schedule".into(),
        why: Some("its upstream has new commits".into()),
        before: Some(oid(0x19)),
        watched: Some(serde_json::json!({
            "by": "revisions", "before": ["svn:6"], "after": ["svn:7"], "seen_before": null, "seen_after": null,
        })),
    }
}

pub fn promotion() -> PromotionView {
    PromotionView {
        repository: "garden".into(),
        moved: true,
        packages: vec![base("hedge")],
        not_replaced: Vec::new(),
        generation: Some(13),
        missing: Vec::new(),
    }
}

pub fn removal() -> RemovalView {
    RemovalView {
        repository: "garden".into(),
        packages: vec![base("arbour"), base("urn")],
        since: ago(500),
        held: Some(HeldView {
            from: "garden".into(),
            leaving: 2,
            published: 7,
            limit: "1".into(),
            confirm: "pkgwarden ctl repo removals --confirm".into(),
        }),
    }
}

pub fn run(id: &str, pipeline: &str, trigger: &str) -> RunView {
    RunView {
        id: id.into(),
        repository: "garden".into(),
        pipeline: pipeline.into(),
        trigger: trigger.into(),
        started: ago(300),
        ended: Some(ago(297)),
        state: "done".into(),
        summary: "1 package committed, 1 review opened, 3 builds".into(),
        errors: 0,
    }
}

pub fn review(name: &str, old: &str, new: &str) -> ReviewView {
    let reason = Reason {
        code: "source-host-changed",
        severity: Weight::Trust,
        file: "PKGBUILD".into(),
        line: Some(9),
        field: None,
        rule: None,
        old: Some("https://example.org/a.tar.gz".into()),
        new: Some("https://example.net/a.tar.gz".into()),
        message: "the source comes from another host".into(),
    };
    let versions = (Some(Version::new("1.4.2-1")), Some(Version::new("1.5.0-1")));
    ReviewView {
        pkgbase: base(name),
        branch: format!("update-{name}"),
        by_people: false,
        group: None,
        head: oid(0xee),
        trees: Trees { from: oid(0x11), to: oid(0x22) },
        message: format!("chore(update): {name}\n\nNeeds a person because:\n- the source comes from another host\n"),
        verdict: Verdict::from_reasons(vec![reason], versions.0, versions.1),
        files: vec![FileDiff { path: "PKGBUILD".into(), old: Some(old.into()), new: Some(new.into()), binary: false }],
        conflict: None,
        approvals: ApprovalsView { needed: 1, by: std::collections::BTreeSet::new() },
    }
}

pub fn attempt(id: &str, ended: bool) -> AttemptView {
    AttemptView {
        id: id.into(),
        started: ago(100),
        ended: ended.then(|| ago(28)),
        outcome: ended.then(|| "failed".into()),
        exit_code: ended.then_some(4),
        message: None,
        log_length: None,
        caches: Vec::new(),
    }
}

/// The key of the only archive of the garden.
pub const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";
/// The SHA-256 of it.
pub const OBJECT: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn cache() -> CacheView {
    CacheView {
        repository: "garden".into(),
        pkgbase: "hedge".into(),
        name: "ccache".into(),
        class: "release".into(),
        key: KEY.into(),
        sha256: OBJECT.into(),
        size: 2_048,
        bytes: 4_096,
        files: 3,
        origin: "b1.1".into(),
        build: Some("b1".into()),
        created: ago(900),
        last_used: ago(100),
        condemned: None,
    }
}

fn attempt_with_caches(id: &str) -> AttemptView {
    let download = Some(format!("/api/v1/caches/{OBJECT}/archive"));
    AttemptView { caches: vec![CacheUseView { action: "used", download, cache: cache() }], ..attempt(id, true) }
}

pub fn document() -> Value {
    json!({
        "repository": "garden", "pipeline": "on-schedule", "now": now(),
        "base": {"main": oid(0x1a), "state": oid(0x1b), "scheduled": null},
        "packages": [
            {"pkgbase": "sundial", "observation": "changed", "action": "review", "verdict": "major",
             "reasons": [{"code": "source-host-changed", "severity": "trust", "file": "PKGBUILD", "line": 9,
                          "field": "source", "rule": null, "old": "https://example.org/a.tar.gz", "new": "https://example.net/a.tar.gz",
                          "message": "the source comes from another host"}],
             "from_version": "1.4.2-1", "to_version": "1.5.0-1", "why": "its update needs a person"},
            {"pkgbase": "trellis", "observation": "changed", "action": "commit", "verdict": "minor", "reasons": [
                {"code": "version", "severity": "version", "file": "PKGBUILD", "line": 3, "field": null, "rule": null, "old": "2.0", "new": "2.1", "message": "the version moves forward"}],
             "from_version": "2.0-1", "to_version": "2.1-1", "why": "only the version moved"},
            {"pkgbase": "mulch", "observation": "current", "action": "none", "verdict": null, "reasons": [],
             "from_version": "1-1", "to_version": null, "why": ""}
        ],
        "refs": [{"name": "refs/heads/main", "old": oid(0x1a), "new": oid(0x2a), "change": "update"}],
        "builds": [{"pkgbase": "trellis", "class": null, "arch": "x86_64", "reason": "changed", "after": []},
                   {"pkgbase": "arbour", "class": "heavy", "arch": "x86_64", "reason": "rebuild", "after": ["trellis"]}],
        "remove": ["weed"],
        "reviews": [{"pkgbase": "sundial", "branch": "update-sundial", "do": "open", "why": ""}],
        "aur_push": [],
        "problems": [{"code": "unknown-directive", "severity": "error", "pkgbase": null, "commit": oid(0x33),
                      "message": "`[deploy trelis]` names no package", "hint": "did you mean `trellis`?"}]
    })
}

/// A garden in the middle of its day: something of everything.
pub fn garden() -> Arc<World> {
    let world = World::empty();
    for name in ["arbour", "hedge", "mulch", "pergola", "sundial", "trellis", "watering-can-git"] {
        world.change(|state| state.packages.insert(base(name), package(name)));
    }
    let mut blocked = build("b4", "pergola", BuildState::Blocked);
    blocked.waits_for = vec![base("hedge")];
    let mut waiting = build("b5", "arbour", BuildState::Waiting);
    waiting.waits_for = vec![base("trellis")];
    let mut failed = build("b2", "hedge", BuildState::Failed);
    failed.message = Some("makepkg: A failure occurred in build() (status 4)".into());
    let mut running = build("b3", "trellis", BuildState::Running);
    running.class = Some("heavy".into());
    for build in [build("b1", "mulch", BuildState::Succeeded), failed.clone(), running, blocked, waiting] {
        world.add_build(build);
    }
    world.change(|state| {
        state.builds.iter_mut().find(|page| page.build.id == "b2").unwrap().attempts =
            vec![attempt_with_caches("b2.1")];
        state.caches.push(cache());
        state.reviews.push(review(
            "sundial",
            "pkgver=1.4.2\nsource=(https://example.org/a.tar.gz)\n",
            "pkgver=1.5.0\nsource=(https://example.net/a.tar.gz)\n",
        ));
        let finding = Finding::warning("srcinfo-disagrees", "`pkgver` is 1.4.2 here and 1.4.1 in the PKGBUILD")
            .at("hedge/.SRCINFO", Some(3))
            .hint("run `makepkg --printsrcinfo`");
        let hedge = state.packages.get_mut("hedge").unwrap();
        hedge.package.last_build = Some(failed.clone());
        hedge.package.problems = 1;
        hedge.builds = vec![failed];
        hedge.findings = vec![finding];
        hedge.needed_by = vec![base("pergola")];
        hedge.script = Some(ScriptView { ran: ago(600), size: 16, last: "nothing is newer".into() });
        let sundial = state.packages.get_mut("sundial").unwrap();
        sundial.package.review = true;
        state.packages.get_mut("trellis").unwrap().package.version = Some(Version::new("2.1-1"));
        state.generations = vec![GenerationView {
            repository: "garden".to_owned(),
            number: 12,
            current: true,
            packages: 7,
            built: 1,
            reused: 6,
            restores: None,
            published: Some(ago(30)),
        }];
        state.removals = vec![removal()];
        state.quarantine = vec![QuarantineView {
            repository: "garden".into(),
            pkgbase: base("hedge"),
            reason: "fetches js-digest".into(),
            since: Some(ago(600)),
            holds: vec![base("pergola")],
            published: vec![ArtefactView {
                pkgbase: base("hedge"),
                file: "hedge-1.4.2-1-any.pkg.tar.zst".into(),
                version: Version::new("1.4.2-1"),
                sha256: "ab".repeat(32),
                build: Some("b2".into()),
                current: true,
            }],
        }];
        state.packages.get_mut("hedge").unwrap().package.held = Some("it is in quarantine: fetches js-digest".into());
        state.runs.push(RunPage { run: run("r1", "on-schedule", "schedule"), document: document() });
        state.graph = json!({"nodes": ["hedge", "trellis", "arbour", "pergola"], "edges": [
            {"from": "arbour", "to": "trellis", "via": "trellis", "kind": "depends"},
            {"from": "pergola", "to": "hedge", "via": "hedge", "kind": "makedepends"},
            {"from": "pergola", "to": "trellis", "via": "trellis", "kind": "depends"}],
            "cycles": [], "order": ["hedge", "trellis", "arbour", "pergola"]});
    });
    world.write("b2.1", b"\x1b[1;32m==>\x1b[0m\x1b[1m Making package: hedge 1.4.2-1\x1b[0m\ncc -o hedge hedge.c\n\x1b[1;31mhedge.c:7:3: error:\x1b[0m expected ';' before '}' token\n\x1b[1;31m==> ERROR:\x1b[0m\x1b[1m A failure occurred in build().\x1b[0m\n");
    world.logs.finish("b2.1").unwrap();
    world.write("b3.1", b"\x1b[1;32m==>\x1b[0m\x1b[1m Making package: trellis 2.1-1\x1b[0m\n\x1b[1;34m  ->\x1b[0m Extracting trellis-2.1.tar.gz with bsdtar\ncc -O2 -c lattice.c\n");
    world
}

/// A package of the published generation.
pub fn entry() -> EntryView {
    EntryView {
        name: "hedge".to_owned(),
        pkgbase: base("hedge"),
        version: Version::new("1.4.2-1"),
        file: "hedge-1.4.2-1-any.pkg.tar.zst".to_owned(),
        sha256: "ab".repeat(32),
        origin: serde_json::from_str("\"reused\"").unwrap(),
        build: Some("b2".to_owned()),
        run: Some("r1".to_owned()),
    }
}
