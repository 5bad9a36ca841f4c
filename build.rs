//! Rebuilds the program when a file is added to what it embeds: `include_dir!` only notices changed ones.

fn main() {
    // A directory that is missing would count as changed on every build.
    for embedded in ["overlays", "profiles"].into_iter().filter(|name| std::path::Path::new(name).exists()) {
        {
            println!("cargo::rerun-if-changed={embedded}");
        }
    }
}
