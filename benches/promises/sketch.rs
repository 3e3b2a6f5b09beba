//! What the packages of a made up monorepo are, before anything of them is written.

/// Numbers that look random and are the same in every run (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).expect("less than `sides`")
    }

    /// True `percent` times of a hundred.
    pub fn one_in_hundred(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

/// One package, before it is written.
pub struct Sketch {
    pub name: String,
    pub version: usize,
    /// Of the same repository only packages that were made earlier.
    pub depends: Vec<String>,
    pub config: String,
    pub extra_files: usize,
    pub interfere: bool,
}

/// The packages of a monorepo of that size.
pub fn packages(count: usize, dice: &mut Dice) -> Vec<Sketch> {
    let (mut names, mut sketches) = (Vec::new(), Vec::new());
    for index in 0..count {
        let sketch = sketch(index, dice, &names);
        names.push(sketch.name.clone());
        sketches.push(sketch);
    }
    sketches
}

fn sketch(index: usize, dice: &mut Dice, earlier: &[String]) -> Sketch {
    let stems = ["lib", "python-", "ttf-", "lua-", "hypr", "kde-", "ruby-", "wine-", "linux-", "gnome-", ""];
    let suffix = match dice.roll(100) {
        0..32 => "-git",
        32..37 => "-bin",
        37..38 => "++",
        _ => "",
    };
    let name = format!("{}pkg{index}{suffix}", stems[dice.roll(stems.len())]);
    let mut depends: Vec<String> = (0..2 + dice.roll(6)).map(|_| format!("official{}", dice.roll(900))).collect();
    // A third of the packages need something of the same repository, seldom more than eight deep.
    if index > 200 && dice.one_in_hundred(36) {
        let layer = earlier.len() / 8;
        let from = (index / layer.max(1)).saturating_sub(1) * layer;
        depends.extend(
            (0..=dice.roll(2)).map(|_| earlier[from + dice.roll(layer.max(1)).min(earlier.len() - from - 1)].clone()),
        );
    }
    Sketch {
        config: config(dice),
        name,
        version: 1 + dice.roll(9),
        depends,
        extra_files: dice.roll(5),
        interfere: dice.one_in_hundred(18),
    }
}

fn config(dice: &mut Dice) -> String {
    let mut text = match dice.roll(100) {
        0..93 => "CI_PKGBUILD_SOURCE=aur\n".to_owned(),
        93..99 => "CI_PKGBUILD_SOURCE=custom\n".to_owned(),
        _ => "CI_PKGBUILD_SOURCE=https://example.org/pkg.git\n".to_owned(),
    };
    let keys = [
        (50, "CI_PACKAGE_BUMP=1.0-1/2"),
        (7, "CI_REBUILD_TRIGGERS=boost:icu"),
        (4, "BUILDER_CACHE_SOURCES=true"),
        (4, "BUILDER_CLASS=9"),
        (1, "CI_ON_TRIGGER=daily"),
    ];
    for (percent, line) in keys {
        if dice.one_in_hundred(percent) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}
