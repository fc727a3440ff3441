use std::ops::ControlFlow;
use std::time::Duration;

use super::Fake;
use crate::engine::{Command, ContainerId, ExecStatus, Result, Sink};

/// How a word of a script ended.
enum Word {
    Prints(Vec<u8>),
    Exits(i64),
    Stops,
}

/// Runs a program, or simple commands with `>` into a file: those of `sh -c` between `;` and `&`, or those that `/bin/sh` reads, a
/// line each.
pub(super) async fn run(
    fake: &Fake,
    container: &ContainerId,
    command: &Command,
    input: &[u8],
    sink: &mut Sink<'_>,
) -> Result<ExecStatus> {
    let exited = |code| Ok(ExecStatus::Exited { code, oom: false, process_limit: false });
    let lines: Vec<Vec<String>> = match command.argv.as_slice() {
        [shell, option, script] if shell == "sh" && option == "-c" => script
            .split("; ")
            // What runs in the background is not waited for: it need not run at all.
            .map(|line| line.rsplit_once("& ").map_or(line, |(_, last)| last))
            .map(|line| shell_words::split(line).unwrap_or_default())
            .collect(),
        // It reads what it is to do.
        [shell] if shell == "/bin/sh" => {
            let text = String::from_utf8_lossy(input);
            text.lines().map(|line| shell_words::split(line).unwrap_or_default()).collect()
        }
        argv => vec![argv.to_vec()],
    };
    for line in lines {
        let (words, file) = match line.iter().position(|word| word == ">") {
            Some(at) => (line[..at].to_vec(), line.get(at + 1).cloned()),
            None => (line.into_iter().filter(|word| word != ">&2").collect(), None),
        };
        match word(fake, container, command, input, &words).await? {
            Word::Exits(code) => return exited(code),
            Word::Stops => return Ok(ExecStatus::ContainerGone { oom: false }),
            Word::Prints(bytes) => match file {
                Some(path) => fake.lock().container(container)?.files.write(&path, &bytes, &command.user),
                None if bytes.is_empty() => {}
                None => {
                    if let ControlFlow::Break(()) = sink(&bytes) {
                        return Ok(ExecStatus::Abandoned);
                    }
                    if bytes.ends_with(MISSING) {
                        return exited(127);
                    }
                }
            },
        }
    }
    exited(0)
}

const MISSING: &[u8] = b": not found\n";

async fn word(
    fake: &Fake,
    container: &ContainerId,
    command: &Command,
    input: &[u8],
    words: &[String],
) -> Result<Word> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (uid, gid) = command.user.split_once(':').unwrap_or_default();
    Ok(Word::Prints(match words.as_slice() {
        ["true"] => Vec::new(),
        ["exit", code] => return Ok(Word::Exits(code.parse().unwrap_or(2))),
        ["echo", text @ ..] => format!("{}\n", text.join(" ")).into_bytes(),
        ["printf", format] => octal(format),
        ["id", "-u"] => format!("{uid}\n").into_bytes(),
        ["id", "-g"] => format!("{gid}\n").into_bytes(),
        ["pwd"] => format!("{}\n", command.dir).into_bytes(),
        ["/bin/env"] => {
            command.env.iter().flat_map(|(name, value)| format!("{name}={value}\n").into_bytes()).collect()
        }
        ["cat"] => input.to_vec(),
        ["cat", path] => match fake.lock().container(container)?.files.read(path) {
            Some(bytes) => bytes,
            None => return Ok(Word::Exits(1)),
        },
        ["sleep", seconds] => {
            let pause = Duration::from_secs(seconds.parse().unwrap_or(0));
            match fake.wait(container, Some(pause)).await? {
                true => Vec::new(),
                false => return Ok(Word::Stops),
            }
        }
        ["kill", "1"] => {
            fake.lock().container(container)?.running = false;
            return Ok(Word::Stops);
        }
        [program, ..] => [program.as_bytes(), MISSING].concat(),
        [] => Vec::new(),
    }))
}

/// `printf`'s escapes of three octal digits.
fn octal(format: &str) -> Vec<u8> {
    let mut parts = format.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(3));
        bytes.extend(u8::from_str_radix(digits, 8));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}
