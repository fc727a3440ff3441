//! A program at a terminal: a window of tmux with a server of its own.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::common::succeed;

/// How long something is waited for. What goes wrong is told sooner; what is slow is no failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A terminal in which a program runs. It goes with this value.
pub struct Screen {
    socket: PathBuf,
}

impl Screen {
    /// Starts a program in a terminal of this size. Its environment is that of the command; when it has ended, its exit status is shown.
    pub fn start(socket: PathBuf, columns: u16, rows: u16, command: &Command) -> Self {
        let screen = Self { socket };
        let mut words = vec!["env".to_owned()];
        let unset = command.get_envs().filter(|(_, value)| value.is_none());
        words.extend(unset.map(|(name, _)| format!("--unset={}", name.display())));
        let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        words.extend(set.map(|(name, value)| format!("{}={}", name.display(), value.display())));
        let program = command.get_program().display().to_string();
        words.push(program);
        words.extend(command.get_args().map(|argument| argument.display().to_string()));
        let line =
            format!("trap : INT; {}; echo \"exit status $?\"; exec sleep 600", shell_words::join(words));
        let folder = command.get_current_dir().unwrap().display().to_string();
        let (x, y) = (columns.to_string(), rows.to_string());
        screen.tmux(&["new-session", "-d", "-x", &x, "-y", &y, "-c", &folder, "sh", "-c", &line]);
        screen
    }

    fn try_tmux(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket).args(["-f", "/dev/null", "-u"]).args(arguments).env_remove("TMUX");
        tmux.output().expect("`.ci/setup.sh test` installs tmux")
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        succeed("tmux", self.try_tmux(arguments))
    }

    /// Presses keys, by tmux's names for them.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a line.
    pub fn type_line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.press(&["Enter"]);
    }

    /// Makes the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What is on the screen, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.tmux(&["capture-pane", "-p"]).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until the screen is as wanted, and gives it.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let start = Instant::now();
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return lines;
            }
            assert!(start.elapsed() < PATIENCE, "the screen never has {what}:\n{}", lines.join("\n"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a line contains a text.
    pub fn wait_for_text(&self, text: &str) -> Vec<String> {
        self.wait_for(text, |lines| lines.iter().any(|line| line.contains(text)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.try_tmux(&["kill-server"]);
    }
}
