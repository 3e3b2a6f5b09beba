//! scratch
fn main() {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).unwrap();
        match pkgwarden::domain::pkgbuild::Pkgbuild::read(&bytes) {
            Err(error) => {
                println!("{path}: UNREAD {} line {}", error.why, pkgwarden::domain::pkgbuild::line_of(&bytes, error.at))
            }
            Ok(p) => {
                let e = p.evaluate();
                println!("{path}: lost {}", e.lost);
                for a in &e.assigned {
                    println!("  {}:{} {:?}", p.line_of(&p.statements[a.statement]), a.name, a.value);
                }
            }
        }
    }
}
