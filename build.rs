//! The page's bundle is built apart (`make graphiql`); without it the binary builds all the same.

use std::fs;

fn main() -> std::io::Result<()> {
    let bundle = "web/graphiql/dist";
    fs::create_dir_all(bundle)?;
    println!("cargo::rerun-if-changed={bundle}");
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
