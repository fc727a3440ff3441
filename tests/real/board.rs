//! The live board in a terminal that changes, and where there is none.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use crate::common::{Workplace, send};
use crate::screen::Screen;

/// The lines of the board: those of stages at work.
fn at_work(lines: &[String]) -> Vec<&String> {
    let spins = |line: &&String| line.chars().next().is_some_and(|c| ('\u{2800}'..'\u{2900}').contains(&c));
    lines.iter().filter(spins).collect()
}

#[test]
fn a_board_survives_a_terminal_that_changes_its_size_and_says_when_it_stops() {
    let place = Workplace::new("endless-build");
    let mut command = place.command(&["run", "--target", "debian-12/deb", "--engine", "docker"]);
    command.env("TERM", "screen").env_remove("NO_COLOR");
    let screen = Screen::start(place.path("tmux"), 110, 30, &command);
    let builds = |lines: &[String]| {
        let board = at_work(lines);
        board.len() == 1 && board[0].contains("debian-12/deb build") && board[0].contains("the build goes on")
    };
    screen.wait_for("the build in its wide form", builds);
    let done = |lines: &[String]| lines.iter().filter(|line| line.contains("debian-12/deb deps")).count();
    assert_eq!(done(&screen.lines()), 1);
    // Narrower, wider, and lower, again and again: there is one board, and nothing is left of the others.
    for (columns, rows) in [(30, 30), (90, 30), (20, 12), (110, 30), (24, 30), (100, 30)] {
        screen.resize(columns, rows);
        let narrow = columns < 50;
        screen.wait_for("one board after a change of size", |lines| {
            let board = at_work(lines);
            board.len() == 1 && board[0].contains("the build goes on") != narrow
        });
    }
    assert_eq!(done(&screen.lines()), 1, "{:#?}", screen.lines());
    screen.press(&["C-c"]);
    let lines = screen.wait_for_text("exit status 130");
    assert!(at_work(&lines).is_empty(), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("infra(build, interrupted)")), "{lines:#?}");
    place.assert_clean_host(&[]);
}

#[test]
fn a_second_interrupt_stops_at_once() {
    let place = Workplace::new("no-debian-folder");
    // An engine that takes every question and answers none.
    let socket = place.path("engine.sock");
    let engine = UnixListener::bind(&socket).unwrap();
    let mut command = place.command(&["run", "--engine", "docker"]);
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(run.stderr.take().unwrap());
    let (_asked, _) = engine.accept().unwrap();
    let mut said = String::new();
    for words in ["stopping: removing containers (once more to stop at once)", "stopped at once"] {
        send("INT", run.id());
        said.clear();
        errors.read_line(&mut said).unwrap();
        assert!(said.starts_with(words), "{said}");
    }
    assert_eq!(run.wait().unwrap().code(), Some(130));
}

/// What a program prints at a terminal, byte by byte.
fn typescript(place: &Workplace, environment: &[(&str, &str)]) -> String {
    let command = place.command(&["run"]);
    let line = shell_words::join([command.get_program().to_str().unwrap(), "run"]);
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(&place.repository);
    for (name, value) in command.get_envs() {
        script.env(name, value.unwrap_or_default());
    }
    script.env_remove("NO_COLOR").envs(environment.iter().copied());
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}

#[test]
fn a_terminal_gets_what_it_can_show_and_no_more() {
    let place = Workplace::new("no-debian-folder");
    let board = typescript(&place, &[("TERM", "xterm-256color")]);
    assert!(board.contains("\x1b[1m\x1b[32m✓\x1b[0m source"), "{board:?}");
    let plain = typescript(&place, &[("TERM", "xterm-256color"), ("NO_COLOR", "1")]);
    assert!(plain.contains("✓ source") && !plain.contains("\x1b[3"), "{plain:?}");
    let dumb = typescript(&place, &[("TERM", "dumb")]);
    assert!(dumb.contains("[source] done in") && !dumb.contains('\x1b'), "{dumb:?}");
    let piped = place.command(&["run"]).env("TERM", "xterm").output().unwrap();
    let piped = String::from_utf8_lossy(&piped.stdout).into_owned();
    assert!(piped.contains("[source] done in") && !piped.contains('\x1b'), "{piped:?}");
}
