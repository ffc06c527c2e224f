//! The wizard in a real terminal, and its refusal where there is none.

use std::process::Command;

use crate::{
    product::{Product, Run, binary, checkout, run},
    story::python,
};

#[test]
fn it_asks_goes_back_and_leaves_nothing_behind() {
    let product = Product::new();
    // Homes and shares of this machine would be proposed; an empty home keeps the conversation the same everywhere.
    let home = product.folder("home");
    let mut command: Command = python("tests/wizard.py");
    command.env("HOME", &home).arg("--binary").arg(binary()).arg("--share").arg(checkout("tests/fixtures/share"));
    let played = Run::of(command.arg("--root").arg(&product.root).output().unwrap()).expect(0);
    println!("{}", played.out);
}

#[test]
fn without_a_terminal_it_names_what_is_missing() {
    let product = Product::new();
    let refused = product.run(&["install", "--license", "DEMO"]).expect(2);
    assert!(refused.err.contains("--customer") && refused.err.contains("--folder"), "{}", refused.err);
    assert!(!refused.err.contains("--license ID"), "{}", refused.err);
    assert!(!product.root.exists());
}

#[test]
fn a_plan_is_the_same_bytes_twice_and_changes_nothing() {
    let product = Product::new();
    let share = checkout("tests/fixtures/share").display().to_string();
    let args = ["plan", "--customer", "Eaton", "--license", "DEMO", "--folder", &share, "--port-base", "31000"];
    let first = product.json(&args);
    assert_eq!(first["digest"], product.json(&args)["digest"]);
    assert_eq!(first["plan"], product.json(&args)["plan"]);
    assert!(
        first["forecast"]["disk_peak_bytes"].as_u64().unwrap() > first["forecast"]["disk_bytes"].as_u64().unwrap() / 2
    );
    assert!(!product.root.exists());
}

#[test]
fn the_exit_codes_are_documented() {
    let listed = run(["help", "exit-codes"]).expect(0);
    for code in ["0", "2", "3", "5", "8", "130"] {
        assert!(listed.out.lines().any(|line| line.trim_start().starts_with(&format!("{code}  "))), "{}", listed.out);
    }
}
