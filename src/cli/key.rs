use super::archive::json;
use super::args::{Common, OutputFormat};
use super::error::CliError;
use super::signing_args::KeyArguments;
use crate::sign::{Keys, Options, Passphrase, Signer};
use crate::support::terminal_text::neutralise;

/// `packhold key check`
pub(super) fn check(common: &Common, arguments: &KeyArguments) -> Result<u8, CliError> {
    let passphrase = arguments.passphrase_fd.map(Passphrase::from_descriptor).transpose()?;
    let keys = Keys::open(&arguments.sources()?, passphrase.as_ref(), Options::default())?;
    // Whether it signs, a try tells best.
    keys.detached(b"packhold key check\n")?;
    let warnings = keys.warnings();
    let certificates = keys.certificates()?;
    if matches!(common.format, OutputFormat::Json) {
        let list: Vec<_> = certificates
            .iter()
            .map(|certificate| {
                serde_json::json!({
                    "fingerprint": certificate.fingerprint, "user_id": certificate.user_id,
                    "created": certificate.created, "expires": certificate.expires,
                })
            })
            .collect();
        json(&serde_json::json!({ "keys": list, "warnings": warnings }));
        return Ok(0);
    }
    for certificate in certificates {
        println!("fingerprint  {}", certificate.fingerprint);
        println!("user id      {}", neutralise(certificate.user_id.as_bytes()));
        println!("created      {}", certificate.created);
        println!(
            "expires      {}",
            certificate.expires.map_or_else(|| "never".to_owned(), |time| time.to_string())
        );
    }
    warnings.iter().for_each(|warning| println!("warning: {warning}"));
    println!("it signs: a signature was made and checked");
    Ok(0)
}
