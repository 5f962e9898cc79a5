//! The program under `strace`: which calls it makes in which order, and its end at a call of one's choice.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where `strace` is; `None`, and a line that says so, when it is not installed.
#[must_use]
pub fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("strace")).find(|path| path.is_file());
    if found.is_none() {
        println!("FIGURE skipped: strace is not installed, and a test that needs it has tried nothing");
    }
    found
}

/// A program that runs another one traced: a script in this folder. It passes its arguments on, and keeps the process
/// number, so that signals reach the program itself. What `strace` does is said by its options. With the name of an
/// environment variable, only runs that have it are traced.
///
/// # Panics
/// When the script cannot be written.
#[must_use]
pub fn traced(folder: &Path, strace: &Path, options: &str, only_with: Option<&str>, program: &Path) -> PathBuf {
    let script = folder.join("traced");
    let (strace, program) = (strace.display(), program.display());
    let plain = only_with.map_or_else(String::new, |name| format!("[ -n \"${name}\" ] || exec '{program}' \"$@\"\n"));
    let text = format!("#!/bin/sh\n{plain}exec '{strace}' -D -f -qq {options} '{program}' \"$@\"\n");
    std::fs::write(&script, text).expect("the script is written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).expect("the script is made a program");
    script
}

/// A call that a trace tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments as `strace` writes them.
    pub arguments: String,
    /// The lines at which it began and ended; the same, when nothing came in between.
    pub begun: usize,
    /// See above.
    pub ended: usize,
    /// What it returned, with the name of what failed.
    pub result: String,
}

/// The calls of a trace that was written with `-f`, in the order in which they ended. A call that never ended is left
/// out.
#[must_use]
pub fn calls(trace: &str) -> Vec<Call> {
    let mut open: Vec<(&str, String, usize)> = Vec::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            open.push((thread, begun.to_owned(), at));
            continue;
        }
        let (text, begun) = match rest.strip_prefix("<... ").and_then(|rest| rest.split_once("resumed>")) {
            Some((_, end)) => {
                let Some(index) = open.iter().position(|(other, ..)| *other == thread) else { continue };
                let (_, begin, begun) = open.remove(index);
                (begin + end, begun)
            }
            None => (rest.to_owned(), at),
        };
        let Some((name, rest)) = text.split_once('(') else { continue };
        let Some((arguments, result)) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(" = ")) else { continue };
        calls.push(Call {
            name: name.to_owned(),
            arguments: arguments.trim_end().trim_end_matches(')').trim_end().to_owned(),
            result: result.to_owned(),
            begun,
            ended: at,
        });
    }
    calls
}

impl Call {
    /// The path behind the file descriptor that is its first argument, as `-y` shows it.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.arguments.split_once('<')?.1.split_once('>').map(|(path, _)| path)
    }

    /// The texts in quotes among its arguments.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        self.arguments.split('"').skip(1).step_by(2).collect()
    }

    /// Whether it succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        !self.result.starts_with('-') && !self.result.starts_with('?')
    }
}
