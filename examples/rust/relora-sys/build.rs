// Where librelora is: the folder RELORA_LIB_DIR, or what pkg-config says.
use std::{env, process::Command};

fn main() {
    for name in ["RELORA_LIB_DIR", "PKG_CONFIG", "PKG_CONFIG_PATH"] {
        println!("cargo:rerun-if-env-changed={}", name);
    }
    if let Ok(folder) = env::var("RELORA_LIB_DIR") {
        println!("cargo:rustc-link-search=native={}", folder);
        println!("cargo:rustc-link-lib=dylib=relora");
        return;
    }
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let answer = Command::new(&program).args(["--libs", "relora"]).output();
    let answer = match answer {
        Ok(a) if a.status.success() => String::from_utf8_lossy(&a.stdout).into_owned(),
        _ => {
            panic!("{} does not know relora: install librelora, or set RELORA_LIB_DIR to its folder", program)
        }
    };
    for word in answer.split_whitespace() {
        if let Some(folder) = word.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={}", folder);
        } else if let Some(library) = word.strip_prefix("-l") {
            println!("cargo:rustc-link-lib=dylib={}", library);
        }
    }
}
