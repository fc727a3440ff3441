//! The archive format of `docker save` and `docker load` (Docker image specification v1.2, "Combined Image JSON +
//! Filesystem Changeset Format"), which podman, skopeo and containerd read and write too.

mod read;
mod write;

pub(super) use read::import;
pub(super) use write::export;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::testing::{Fixture, append, config_of, end, tar_of};
    use super::super::{Archive, ArchiveError, Image};
    use crate::model::Digest;
    use crate::support::tar_reader::TarError;

    const FILE: tar::EntryType = tar::EntryType::Regular;
    const SYMLINK: tar::EntryType = tar::EntryType::Symlink;
    const HARDLINK: tar::EntryType = tar::EntryType::Link;

    fn layers() -> (Vec<u8>, Vec<u8>) {
        (tar_of(&[("a", b"lower")]), tar_of(&[("b", &[b'u'; 3000])]))
    }

    /// Docker 20.10: the manifest is last, the third layer is a link to the first.
    fn docker_20(link: tar::EntryType, target: &str) -> (Vec<u8>, Vec<u8>) {
        let (lower, upper) = layers();
        let config = config_of(&[&lower, &upper, &lower]);
        let mut tar = Vec::new();
        append(&mut tar, "1/", tar::EntryType::Directory, "", b"");
        append(&mut tar, "1/VERSION", FILE, "", b"1.0");
        append(&mut tar, "1/json", FILE, "", b"{}");
        append(&mut tar, "1/layer.tar", FILE, "", &lower);
        append(&mut tar, "2/layer.tar", FILE, "", &upper);
        append(&mut tar, "3/layer.tar", link, target, b"");
        append(&mut tar, "id.json", FILE, "", &config);
        let manifest = br#"[{"Config":"id.json","RepoTags":["probe:test"],"Layers":["1/layer.tar","2/layer.tar","3/layer.tar"]}]"#;
        append(&mut tar, "manifest.json", FILE, "", manifest);
        append(&mut tar, "repositories", FILE, "", b"{}");
        (end(tar), config)
    }

    fn packed(layer: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(layer).unwrap();
        gzip.finish().unwrap()
    }

    /// Docker 25 and podman: everything is in `blobs`; here the manifest comes first and layers are packed.
    fn oci_style() -> (Vec<u8>, Vec<u8>) {
        let (lower, upper) = layers();
        let config = config_of(&[&lower, &upper]);
        let manifest =
            br#"[{"Config":"blobs/sha256/c","RepoTags":null,"Layers":["blobs/sha256/1","blobs/sha256/2"]}]"#;
        let mut tar = Vec::new();
        append(&mut tar, "manifest.json", FILE, "", manifest);
        append(&mut tar, "oci-layout", FILE, "", br#"{"imageLayoutVersion":"1.0.0"}"#);
        append(&mut tar, "./blobs/sha256/1", FILE, "", &packed(&lower));
        append(&mut tar, "./blobs/sha256/2", FILE, "", &zstd::encode_all(&upper[..], 3).unwrap());
        append(&mut tar, "./blobs/sha256/c", FILE, "", &config);
        (end(tar), config)
    }

    fn import(fixture: &Fixture, tar: &[u8]) -> super::super::Result<Image> {
        fixture.archive.import_docker_archive(tar)
    }

    #[test]
    fn images_of_every_style_keep_their_identity() {
        let styles = [
            docker_20(SYMLINK, "../1/layer.tar"),
            docker_20(HARDLINK, "1/layer.tar"),
            docker_20(HARDLINK, "./1/layer.tar"),
            oci_style(),
        ];
        for (tar, config) in styles {
            let fixture = Fixture::new();
            let image = import(&fixture, &tar).unwrap();
            assert_eq!(image.id, Digest::of(&config));
            assert_eq!(image.layers[0].digest, Digest::of(layers().0));
            assert_eq!(image.layers[1].digest, Digest::of(layers().1));
            assert_eq!(std::fs::read(fixture.blob(&image.id)).unwrap(), config);
            assert_eq!(fixture.blobs().len(), 2, "a configuration and a pack");
            assert!(fixture.verify().is_sound());
        }
    }

    #[test]
    fn an_exported_image_is_imported_with_the_same_identity_and_always_the_same_bytes() {
        let (first, second) = (Fixture::new(), Fixture::new());
        let image = import(&first, &docker_20(SYMLINK, "../1/layer.tar").0).unwrap();
        let export = |fixture: &Fixture| {
            let mut tar = Vec::new();
            fixture.archive.export_docker_archive(&image.id, Some("probe:test"), &mut tar).unwrap();
            tar
        };
        let tar = export(&first);
        assert_eq!(import(&second, &tar).unwrap(), image);
        assert_eq!(export(&second), tar);
        assert!(String::from_utf8_lossy(&tar).contains(r#""RepoTags":["probe:test"]"#));
    }

    #[test]
    fn a_damaged_layer_is_never_exported_as_a_whole_image() {
        let fixture = Fixture::new();
        let image = import(&fixture, &oci_style().0).unwrap();
        let path = fixture.file_of(&image.layers[0].digest);
        let mut pack = std::fs::read(&path).unwrap();
        pack[20] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &pack).unwrap();
        let mut tar = Vec::new();
        let error = fixture.archive.export_docker_archive(&image.id, None, &mut tar).unwrap_err();
        assert!(matches!(error, ArchiveError::WrongDigest { .. } | ArchiveError::Fs(_)), "{error}");
        let error = import(&Fixture::new(), &tar).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Tar(TarError::Truncated) | ArchiveError::Input(_)),
            "{error:?}"
        );
    }

    #[test]
    fn a_layer_that_leaves_the_root_file_system_is_refused_on_import_and_on_export() {
        let hostile = tar_of(&[("../../etc/passwd", b"mine")]);
        let config = config_of(&[&hostile]);
        for layer in [hostile.clone(), packed(&hostile)] {
            let fixture = Fixture::new();
            let error = import(&fixture, &with(b"", &layer, &config)).unwrap_err();
            assert!(matches!(&error, ArchiveError::BadImage { .. }), "{error}");
            assert!(error.to_string().contains("etc/passwd"), "{error}");
            assert!(fixture.blobs().is_empty());
        }
        // Somebody else's archive may hold it all the same.
        let fixture = Fixture::new();
        fixture.archive.put_bytes(&hostile).unwrap();
        let (id, _) = fixture.archive.put_bytes(&config).unwrap();
        let mut tar = Vec::new();
        let error = fixture.archive.export_docker_archive(&id, None, &mut tar).unwrap_err();
        assert!(matches!(&error, ArchiveError::BadImage { .. }), "{error}");
        assert!(!tar.ends_with(&[0; 1024]), "no engine takes it for whole");
    }

    #[test]
    fn known_layers_are_not_written_again() {
        let fixture = Fixture::new();
        let (tar, _) = docker_20(SYMLINK, "../1/layer.tar");
        let image = import(&fixture, &tar).unwrap();
        fixture.archive.add_image(&super::super::testing::image_record(&image, "key")).unwrap();
        let before = fixture.blobs();
        let other = Archive::open(fixture.archive.path()).unwrap();
        assert_eq!(other.import_docker_archive(tar.as_slice()).unwrap(), image);
        let workspace = other.workspace().new_path().unwrap().parent().unwrap().to_owned();
        assert_eq!(
            std::fs::read_dir(workspace).unwrap().count(),
            2,
            "only the owner's lock and what it holds"
        );
        assert_eq!(fixture.blobs(), before);
    }

    /// The tar of an image whose only layer is `layer`, with `extra` in front.
    fn with(extra: &[u8], layer: &[u8], config: &[u8]) -> Vec<u8> {
        let mut tar = extra.to_vec();
        append(&mut tar, "layer.tar", FILE, "", layer);
        append(&mut tar, "config.json", FILE, "", config);
        let manifest = br#"[{"Config":"config.json","Layers":["layer.tar"]}]"#;
        append(&mut tar, "manifest.json", FILE, "", manifest);
        end(tar)
    }

    fn refused(tar: &[u8]) -> ArchiveError {
        let fixture = Fixture::new();
        let outside = |fixture: &Fixture| std::fs::read_dir(fixture.dir.path()).unwrap().count();
        let before = outside(&fixture);
        let error = import(&fixture, tar).unwrap_err();
        assert!(fixture.blobs().is_empty(), "nothing is stored: {error}");
        assert_eq!(outside(&fixture), before);
        assert!(fixture.verify().is_sound());
        error
    }

    #[test]
    fn hostile_names_and_entries_are_refused() {
        let (layer, _) = layers();
        let config = config_of(&[&layer]);
        assert!(import(&Fixture::new(), &with(b"", &layer, &config)).is_ok());
        for name in ["../escape", "/etc/cron.d/x", "a/../../x"] {
            let mut extra = Vec::new();
            append(&mut extra, name, FILE, "", b"x");
            assert!(matches!(
                refused(&with(&extra, &layer, &config)),
                ArchiveError::Tar(TarError::UnsafeName(_))
            ));
        }
        for (kind, link) in [
            (SYMLINK, "../../etc/passwd"),
            (SYMLINK, "/etc/passwd"),
            (HARDLINK, "../x"),
            (tar::EntryType::Block, ""),
            (tar::EntryType::Char, ""),
            (tar::EntryType::Fifo, ""),
            (tar::EntryType::GNUSparse, ""),
        ] {
            let mut extra = Vec::new();
            append(&mut extra, "entry", kind, link, b"");
            assert!(
                matches!(refused(&with(&extra, &layer, &config)), ArchiveError::BadImage { .. }),
                "{kind:?}"
            );
        }
        let mut twice = Vec::new();
        append(&mut twice, "layer.tar", FILE, "", &layer);
        assert!(matches!(refused(&with(&twice, &layer, &config)), ArchiveError::BadImage { .. }));
    }

    #[test]
    fn a_stream_that_ends_early_or_lies_about_sizes_is_refused() {
        let (layer, _) = layers();
        let whole = with(b"", &layer, &config_of(&[&layer]));
        for length in (0..whole.len() - 1023).step_by(256) {
            assert!(
                matches!(refused(&whole[..length]), ArchiveError::Tar(_) | ArchiveError::Input(_)),
                "{length}"
            );
        }
        let mut header = tar::Header::from_byte_slice(&whole[..512]).clone();
        header.set_size(1 << 50);
        header.set_cksum();
        let mut lying = whole.clone();
        lying[..512].copy_from_slice(header.as_bytes());
        assert!(matches!(refused(&lying), ArchiveError::Input(_)));
    }

    #[test]
    fn layers_that_are_not_what_the_configuration_names_are_refused() {
        let (layer, other) = layers();
        let config = config_of(&[&layer]);
        assert!(matches!(refused(&with(b"", &other, &config)), ArchiveError::WrongDigest { .. }));
        assert!(matches!(refused(&with(b"", &packed(&other), &config)), ArchiveError::WrongDigest { .. }));
        assert!(matches!(refused(&with(b"", b"no tar", &config)), ArchiveError::BadImage { .. }));
        assert!(matches!(refused(&with(b"", &layer, b"no json")), ArchiveError::BadImage { .. }));
        assert!(matches!(
            refused(&with(b"", &layer, &config_of(&[&layer, &other]))),
            ArchiveError::BadImage { .. }
        ));
        let (mut circle, _) = docker_20(SYMLINK, "../3/layer.tar");
        assert!(matches!(refused(&circle), ArchiveError::BadImage { .. }));
        circle = tar_of(&[("manifest.json", b"[]")]);
        assert!(matches!(refused(&circle), ArchiveError::BadImage { .. }));
        assert!(matches!(refused(&tar_of(&[("file", b"x")])), ArchiveError::BadImage { .. }));
    }
}
