//! Links programs without `libgcc_s.so`; of the supervisor's too, for the gate, which starts before every task.
//!
//! The standard library refers to the unwinder, and loading that for a program that aborts on panic takes a tenth of
//! the time that the generator or a gate needs. It is put into the program instead; `--as-needed`, which rustc passes, then leaves the
//! shared library out.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        for argument in [
            "-Wl,--push-state,--whole-archive,-Bstatic",
            "-lgcc_eh",
            "-Wl,--pop-state",
        ] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}
