use super::archive::json;
use super::args::{Common, ImageChoice, OutputFormat, RestoreArguments};
use super::context;
use super::error::CliError;
use crate::archive::{Archive, Run};
use crate::model::{ImageRecord, ImageRole, TargetName};
use crate::stage::load_image;

/// `packhold archive restore`
pub(super) async fn restore(common: &Common, arguments: RestoreArguments) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    let run = archive.run(&arguments.run)?;
    if let Some(folder) = &arguments.to {
        for restored in archive.restore_files(&run, &arguments.targets, folder)? {
            if common.format == OutputFormat::Json {
                json(&serde_json::json!({
                    "file": restored.path, "digest": restored.file.digest, "already_there": restored.already_there,
                }));
                continue;
            }
            let note = if restored.already_there { " (was there)" } else { "" };
            println!("{}  {}{note}", restored.file.digest.hex(), restored.path.display());
        }
    }
    if let (Some(image), Some(name)) = (&arguments.image, &arguments.name) {
        let found = match image {
            ImageChoice::OfTarget(role) => of_target(&run, *role, &arguments.targets)?,
            ImageChoice::WithId(hex) => with_id(&run, hex)?,
        };
        load(common, &archive, found, name, &arguments).await?;
    }
    Ok(0)
}

async fn load(
    common: &Common,
    archive: &Archive,
    image: &ImageRecord,
    name: &str,
    arguments: &RestoreArguments,
) -> Result<(), CliError> {
    archive.image(&image.id)?;
    let engine = context::engine_for(arguments.engine.engine, Some(archive.path())).await?;
    let loaded = load_image(engine.as_ref(), archive, image.id, name).await?;
    match common.format {
        OutputFormat::Json => json(&serde_json::json!({ "image": loaded.id, "name": name })),
        _ => println!("{} is {name} in the engine", loaded.id),
    }
    Ok(())
}

fn of_target<'a>(run: &'a Run, role: ImageRole, targets: &[TargetName]) -> Result<&'a ImageRecord, CliError> {
    let [target] = targets else {
        let known: Vec<String> = run.record.targets.iter().map(|t| t.target.to_string()).collect();
        return Err(CliError::Usage {
            message: "an image belongs to one target".to_owned(),
            hint: format!("add --target with one of {}", known.join(", ")),
        });
    };
    let ids = run.record.targets.iter().find(|t| t.target == *target).map(|t| &t.images);
    let ids = ids.ok_or_else(|| CliError::Usage {
        message: format!("run {} has no target `{target}`", run.record.id),
        hint: format!("`packhold archive show {}` lists its targets", run.record.id),
    })?;
    let found = run.record.images.iter().find(|image| image.role == role && ids.contains(&image.id));
    found.ok_or_else(|| CliError::Usage {
        message: format!("run {} has no {role} image for {target}", run.record.id),
        hint: "it may have ended before the image was made".to_owned(),
    })
}

fn with_id<'a>(run: &'a Run, hex: &str) -> Result<&'a ImageRecord, CliError> {
    let begins = |image: &&ImageRecord| image.id.hex().starts_with(hex);
    let mut found: Vec<&ImageRecord> = run.record.images.iter().filter(begins).collect();
    // An image may have been used as more than one thing.
    found.dedup_by_key(|image| image.id);
    match found[..] {
        [image] => Ok(image),
        [] => Err(CliError::Usage {
            message: format!("run {} has no image whose id begins with {hex}", run.record.id),
            hint: format!("`packhold archive show {}` lists its images", run.record.id),
        }),
        _ => Err(CliError::Usage {
            message: format!("{hex} may be any of {} images of run {}", found.len(), run.record.id),
            hint: "give more of the id".to_owned(),
        }),
    }
}
