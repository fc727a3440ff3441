use std::path::PathBuf;

use clap::Args;

use super::error::CliError;
use crate::sign::KeySource;

/// The keys that `packhold key check` looks at.
#[derive(Args, Debug)]
pub(super) struct KeyArguments {
    /// A file with an OpenPGP secret key that only its owner can read, or gpg:FINGERPRINT for a key of gpg; two while keys are rotated
    #[arg(required_unless_present = "sign_command", value_name = "KEY")]
    pub keys: Vec<KeySource>,
    #[command(flatten)]
    pub commands: CommandArguments,
    /// Read the passphrase of the key files from this open file descriptor: `--passphrase-fd 3 3<FILE`
    #[arg(long, value_name = "N")]
    pub passphrase_fd: Option<u32>,
}

/// The keys that sign repositories.
#[derive(Args, Clone, Debug)]
pub(super) struct NamedKeys {
    /// What signs: a file with an OpenPGP secret key that only its owner can read, or gpg:FINGERPRINT; two while keys are rotated
    #[arg(long = "key", value_name = "KEY", env = "PACKHOLD_SIGNING_KEY", value_delimiter = ',')]
    pub key: Vec<KeySource>,
    #[command(flatten)]
    pub commands: CommandArguments,
}

/// What signs a repository.
#[derive(Args, Clone, Debug)]
pub(super) struct SigningArguments {
    #[command(flatten)]
    pub keys: NamedKeys,
    /// Read the passphrase of the key files from this open file descriptor: `--passphrase-fd 3 3<FILE`
    #[arg(long, value_name = "N")]
    pub passphrase_fd: Option<u32>,
    /// Sign nothing: users have to trust the place
    #[arg(long, conflicts_with_all = ["key", "sign_command"])]
    pub unsigned: bool,
}

/// Keys that are behind a command: those of a hardware module or of a key service.
#[derive(Args, Clone, Debug)]
pub(super) struct CommandArguments {
    /// A command that signs: bytes on standard input, an armored detached OpenPGP signature on standard output. Program and
    /// arguments in one word, without a shell; they hold no secret
    #[arg(long, value_name = "COMMAND", env = "PACKHOLD_SIGN_COMMAND")]
    pub sign_command: Vec<String>,
    /// The OpenPGP certificate of the key behind `--sign-command`, against which each signature is checked; one for each command, in their order
    #[arg(long, value_name = "FILE", env = "PACKHOLD_SIGN_CERTIFICATE")]
    pub sign_certificate: Vec<PathBuf>,
}

impl NamedKeys {
    /// All keys that are named; none where nothing is to be signed.
    pub fn sources(&self) -> Result<Vec<KeySource>, CliError> {
        self.commands.with(&self.key)
    }
}

impl KeyArguments {
    /// All keys that are named.
    pub fn sources(&self) -> Result<Vec<KeySource>, CliError> {
        self.commands.with(&self.keys)
    }
}

impl CommandArguments {
    fn with(&self, keys: &[KeySource]) -> Result<Vec<KeySource>, CliError> {
        let (commands, certificates) = (&self.sign_command, &self.sign_certificate);
        if commands.len() != certificates.len() {
            return Err(CliError::Usage {
                message: format!(
                    "there are {} --sign-command and {} --sign-certificate",
                    commands.len(),
                    certificates.len()
                ),
                hint: "give the certificate of each command's key: `gpg --export --armor FINGERPRINT` writes one"
                    .to_owned(),
            });
        }
        let mut sources = keys.to_vec();
        for (command, certificate) in commands.iter().zip(certificates) {
            let argv = shell_words::split(command).ok().filter(|argv| !argv.is_empty());
            let argv = argv.ok_or_else(|| CliError::Usage {
                message: format!("`{}` is no command", command.escape_debug()),
                hint: "give a program and its arguments, quoted as for a shell: --sign-command 'sign-with-hsm --slot 3'"
                    .to_owned(),
            })?;
            sources.push(KeySource::Command { argv, certificate: certificate.clone() });
        }
        Ok(sources)
    }
}
