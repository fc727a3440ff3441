//! The data folders are compiled in; a change in them must lead to a new build.

fn main() {
    println!("cargo::rerun-if-changed=builders");
    println!("cargo::rerun-if-changed=pipelines");
}
