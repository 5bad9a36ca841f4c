//! Rebuilds the program when a file is added to an embedded directory: `include_dir!` only notices changed
//! files.

fn main() {
    // A missing directory would count as changed on every build.
    for embedded in ["overlays", "profiles"].into_iter().filter(|name| std::path::Path::new(name).exists()) {
        {
            println!("cargo::rerun-if-changed={embedded}");
        }
    }
}
