use std::env;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::archive::json;
use super::args::{
    Common, CopyArguments, OutputFormat, PlaceArguments, PullArguments, PushArguments, WhichRuns,
};
use super::context;
use super::error::CliError;
use crate::archive::Archive;
use crate::bucket::BucketSettings;
use crate::model::RunId;
use crate::remote::{self, Bucket, Credentials, Directory, Location, Registry, Sink, Source, Transferred};
use crate::report;
use crate::support::fs::PathContext;

/// `packhold archive push`
pub(super) async fn push(common: &Common, arguments: PushArguments) -> Result<u8, CliError> {
    let sink: Box<dyn Sink> = match arguments.to.parse()? {
        Location::Directory(folder) => return copy_to(common, &arguments.which, &folder).await,
        Location::Registry { host, repository, plain } => {
            Box::new(registry(&host, &repository, plain, &arguments.place).await?)
        }
        Location::Bucket { bucket, prefix } => Box::new(open_bucket(&bucket, &prefix, &arguments.place)?),
    };
    let archive = context::existing_archive(common)?;
    for run in here(&archive, &arguments.which)? {
        tell(common, &remote::push(&archive, sink.as_ref(), &run).await?, &sink.name());
    }
    Ok(0)
}

/// `packhold archive pull`
pub(super) async fn pull(common: &Common, arguments: PullArguments) -> Result<u8, CliError> {
    let source: Box<dyn Source> = match arguments.from.parse()? {
        Location::Directory(folder) => Box::new(Directory(Archive::open(folder)?)),
        Location::Registry { host, repository, plain } => {
            Box::new(registry(&host, &repository, plain, &arguments.place).await?)
        }
        Location::Bucket { bucket, prefix } => Box::new(open_bucket(&bucket, &prefix, &arguments.place)?),
    };
    let archive = context::archive(common)?;
    fetch(common, &archive, source.as_ref(), &arguments.which).await
}

/// `packhold archive copy`
pub(super) async fn copy(common: &Common, arguments: CopyArguments) -> Result<u8, CliError> {
    copy_to(common, &arguments.which, &arguments.to).await
}

async fn copy_to(common: &Common, which: &WhichRuns, folder: &Path) -> Result<u8, CliError> {
    let source = Directory(context::existing_archive(common)?);
    let archive = Archive::open_or_create(folder)?;
    fetch(common, &archive, &source, which).await
}

async fn fetch(
    common: &Common,
    archive: &Archive,
    source: &dyn Source,
    which: &WhichRuns,
) -> Result<u8, CliError> {
    let known = source.runs().await?;
    let mut wanted = Vec::new();
    for text in &which.runs {
        wanted.push(choose(&known, text, &source.name())?);
    }
    for run in if which.all { known } else { wanted } {
        tell(common, &remote::pull(archive, source, &run).await?, &archive.path().display().to_string());
    }
    Ok(0)
}

/// The runs of this archive that are asked for, oldest first if all are.
fn here(archive: &Archive, which: &WhichRuns) -> Result<Vec<RunId>, CliError> {
    if which.all {
        let mut all: Vec<RunId> = archive.runs()?.into_iter().map(|run| run.id).collect();
        all.reverse();
        return Ok(all);
    }
    which.runs.iter().map(|run| Ok(archive.run(run)?.record.id)).collect()
}

fn choose(known: &[RunId], wanted: &str, place: &str) -> Result<RunId, CliError> {
    let matches: Vec<&RunId> = match wanted {
        "latest" => known.last().into_iter().collect(),
        wanted => known.iter().filter(|id| id.as_str().starts_with(wanted)).collect(),
    };
    match matches[..] {
        [run] => Ok(run.clone()),
        [] => Err(CliError::Usage {
            message: format!("{place} has no run `{wanted}`"),
            hint: match known.last() {
                Some(newest) => format!("it has {} runs; the newest is {newest}", known.len()),
                None => "it has no runs at all; push one first".to_owned(),
            },
        }),
        _ => Err(CliError::Usage {
            message: format!("`{wanted}` may mean any of {} runs of {place}", matches.len()),
            hint: "give more of its id".to_owned(),
        }),
    }
}

fn tell(common: &Common, done: &Transferred, to: &str) {
    if common.format == OutputFormat::Json {
        return json(done);
    }
    let bytes = report::bytes(done.bytes);
    println!("{}  {} files ({bytes}) to {to}; {} were there", done.run, done.files, done.known);
}

async fn registry(
    host: &str,
    repository: &str,
    plain: bool,
    place: &PlaceArguments,
) -> Result<Registry, CliError> {
    let authority = authority(place)?;
    let credentials = credentials(host)?;
    Ok(Registry::open(host, repository, plain, credentials, authority.as_deref()).await?)
}

fn open_bucket(bucket: &str, prefix: &str, place: &PlaceArguments) -> Result<Bucket, CliError> {
    Ok(Bucket::open(bucket, prefix, &bucket_settings(place)?)?)
}

/// What opens buckets.
pub(super) fn bucket_settings(place: &PlaceArguments) -> Result<BucketSettings, CliError> {
    // What is no text is no setting, and need not stop anything.
    let variables =
        env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let variables = variables.filter(|(key, _)| key.starts_with("AWS_")).collect();
    Ok(BucketSettings { variables, authority: authority(place)? })
}

fn authority(place: &PlaceArguments) -> Result<Option<Vec<u8>>, CliError> {
    Ok(place.ca_file.as_ref().map(|path| std::fs::read(path).at("read", path)).transpose()?)
}

/// What `docker login`, `podman login` or `skopeo login` has left for a registry.
pub(super) fn credentials(host: &str) -> Result<Credentials, CliError> {
    use CredentialRetrievalError as E;
    for path in credential_files() {
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file.at("read", &path)?,
        };
        match docker_credential::get_credential_from_reader(file, host) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                return Ok(Credentials::Basic { user, password });
            }
            Ok(DockerCredential::IdentityToken(token)) => return Ok(Credentials::Bearer(token)),
            Err(E::NoCredentialConfigured | E::ConfigNotFound) => {}
            Err(error) => {
                return Err(CliError::Usage {
                    message: format!("{} gives no credentials for {host}: {error}", path.display()),
                    hint: "log in again with `docker login` or `skopeo login`".to_owned(),
                });
            }
        }
    }
    Ok(Credentials::Anonymous)
}

/// Where clients of registries keep what they know (containers-auth.json(5), docker-login(1)).
fn credential_files() -> Vec<PathBuf> {
    let at = |variable: &str, below: &str| Some(PathBuf::from(env::var_os(variable)?).join(below));
    let docker = at("DOCKER_CONFIG", "config.json").or_else(|| at("HOME", ".docker/config.json"));
    let named = env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from);
    [named, at("XDG_RUNTIME_DIR", "containers/auth.json"), docker].into_iter().flatten().collect()
}
