use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;

use clap::{Args, ValueEnum};

use super::args::{Common, EngineArguments, OutputFormat};
use super::error::CliError;
use super::terminal::{self, Raw};
use super::{context, output};
use crate::engine::Session;
use crate::model::{ImageRole, Stage, TargetName};
use crate::run::{Left, ShellRequest, Standing};
use crate::support::terminal_text::neutralise;

#[derive(Args, Debug)]
pub(super) struct ShellArguments {
    /// The target, such as debian-12/deb
    pub target: TargetName,
    /// The run: its id, the beginning of one, or `latest` [default: the last that has the target]
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// The stage [default: the one that failed, or build]
    #[arg(long, value_enum)]
    pub stage: Option<OpenStage>,
    /// Run the failed step first, and open what it leaves
    #[arg(long)]
    pub after: bool,
    /// Give the container a network, which no build has
    #[arg(long)]
    pub network: bool,
    #[command(flatten)]
    pub engine: EngineArguments,
}

/// A stage that has an environment to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OpenStage {
    Prepare,
    Deps,
    Build,
    Verify,
}

impl From<OpenStage> for Stage {
    fn from(stage: OpenStage) -> Self {
        match stage {
            OpenStage::Prepare => Self::Prepare,
            OpenStage::Deps => Self::Deps,
            OpenStage::Build => Self::Build,
            OpenStage::Verify => Self::Verify,
        }
    }
}

/// `packhold shell`: gives the shell's exit status.
pub(super) async fn shell(common: &Common, arguments: ShellArguments) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    // A person needs both: to type, and to see.
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let request = ShellRequest {
        archive,
        engine: context::engine(arguments.engine.engine).await?,
        folders: context::folders(),
        target: arguments.target,
        run: arguments.run,
        stage: arguments.stage.map(Stage::from),
        after: arguments.after,
        network: arguments.network,
        terminal: interactive.then(terminal::kind),
    };
    let cancel = context::cancelled_by_signals();
    // Standard output is what the shell prints.
    let (send, shown) = output::show_beside(common.format, &cancel);
    let mut raw = None;
    let begin = |standing: &Standing| {
        if common.format != OutputFormat::Json {
            eprint!("{}", told(standing));
        }
        let sizes = match interactive {
            true => terminal::sizes(),
            false => None,
        };
        raw = sizes.is_some().then(Raw::begin).flatten();
        Session { input: terminal::input(), terminal: sizes.filter(|_| raw.is_some()) }
    };
    let mut out = std::io::stdout();
    // A terminal that is not handed to the shell is not to be steered by it either.
    let mut lines = (!interactive && out.is_terminal()).then(Vec::new);
    let mut sink = |bytes: &[u8]| {
        let written = match &mut lines {
            None => out.write_all(bytes),
            Some(lines) => write_safely(&mut out, lines, bytes),
        };
        match written.and_then(|()| out.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    let left = crate::run::shell(request, send, cancel, begin, &mut sink).await;
    drop(raw);
    if let Some(rest) = lines.filter(|rest| !rest.is_empty()) {
        println!("{}", neutralise(&rest));
    }
    let _ = shown.await;
    match left? {
        Left::Exited(code) => {
            if interactive {
                eprintln!("the container is removed");
            }
            Ok(u8::try_from(code).unwrap_or(1))
        }
        Left::Gone => {
            eprintln!("the container is gone: it ran out of memory, or somebody removed it");
            Ok(3)
        }
        Left::NotOpened(outcome) if outcome.exit_code() == 130 => {
            eprintln!("interrupted: the container is removed");
            Ok(130)
        }
        Left::NotOpened(outcome) => {
            let message = outcome.message().unwrap_or_default();
            eprintln!(
                "Error: no shell could be opened: {message}\nHint: {}",
                outcome.hint().unwrap_or_default()
            );
            Ok(outcome.exit_code())
        }
    }
}

/// Writes whole lines that cannot steer a terminal; what is not a whole line yet stays in `lines`.
fn write_safely(out: &mut impl Write, lines: &mut Vec<u8>, bytes: &[u8]) -> std::io::Result<()> {
    lines.extend_from_slice(bytes);
    while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = lines.drain(..=end).collect();
        writeln!(out, "{}", neutralise(&line))?;
    }
    Ok(())
}

/// What was opened, and what comes next.
fn told(Standing { run, target, opened }: &Standing) -> String {
    let image = &opened.image;
    let network = if opened.network { "on" } else { "off" };
    let mut text = format!(
        "{target} {} of run {run}: a container of the {} image {}, user {}, folder {}, network {network}\n",
        opened.stage,
        image.role,
        image.id.short(),
        opened.here.user,
        opened.here.dir
    );
    for (title, exit) in &opened.done {
        let how = match exit {
            Some(0) => "was run again".to_owned(),
            Some(code) => format!("was run again and ended with exit status {code}"),
            None => "was run again and ended by a limit".to_owned(),
        };
        text += &format!("  {title}: {how}\n");
    }
    match &opened.step {
        Some((title, argv)) => {
            let command = shell_words::join(argv);
            let command =
                command.lines().map(|line| neutralise(line.as_bytes())).collect::<Vec<_>>().join("\n");
            text += &format!("  {title}: to run it: {command}\n");
        }
        None if image.role == ImageRole::Base => {
            text += "  the packages are in /packages/new; to install them: /bin/sh -eu /packhold/verify.sh install \
                     /packages/new/*, which needs --network where they depend on others\n";
        }
        None => text += "  every step of the stage was run\n",
    }
    text
}
