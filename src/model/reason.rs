use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($(#[$outer:meta])* $name:ident { $(#[doc = $meaning:literal] $variant:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = $meaning] #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What it means, as one or two sentences.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning.trim_ascii(),)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)* })
            }
        }
    };
}

reasons! {
    /// Why a package failed. The words are stable: dashboards and scripts may rely on them.
    FailReason {
        /// A command ended with a status other than 0 and nothing more precise is known.
        StepExit = "step-exit",
        /// The memory limit was reached.
        Oom = "oom",
        /// A file system was full.
        NoSpace = "no-space",
        /// The total time limit was reached.
        TimeOut = "time-out",
        /// Nothing was printed for the time that silence may last.
        Silent = "silent",
        /// More was printed than the output limit allows.
        OutputLimit = "output-limit",
        /// The limit for processes was reached.
        ProcessLimit = "process-limit",
        /// A stage without network tried to use one.
        Network = "network",
        /// A build dependency cannot be satisfied.
        MissingDependency = "missing-dependency",
        /// The build ended well and left no package.
        NoArtifacts = "no-artifacts",
        /// What the build left is not an acceptable artifact: a link, a device, an unsafe name.
        BadArtifact = "bad-artifact",
        /// The artifacts are larger than the limit allows.
        ArtifactLimit = "artifact-limit",
        /// The distro's resolver refuses the packages.
        InstallConflict = "install-conflict",
        /// Installing failed: a maintainer script, a scriptlet, an unpacking error.
        InstallFailed = "install-failed",
        /// A scriptlet failed although the package manager calls the transaction done.
        ScriptletFailed = "scriptlet-failed",
        /// A maintainer script waits for an answer (Debian Policy 3.9.1, 6.3).
        AsksQuestion = "asks-question",
        /// A maintainer script or scriptlet does not end.
        Hangs = "hangs",
        /// What is installed is not what was built.
        WrongVersion = "wrong-version",
        /// An installed file is not what the package database says, or is missing (dpkg --verify, rpm -V).
        AlteredAfterInstall = "file-altered-after-install",
        /// A file belongs to another package as well.
        FileShared = "file-shared",
        /// A file runs with another's rights: set-user-id or set-group-id (Debian Policy 10.9).
        SetId = "set-id",
        /// Everybody may write a file or folder (Debian Policy 10.9).
        WorldWritable = "world-writable",
        /// A device file (Debian Policy 10.6).
        DeviceFile = "device-file",
        /// A file where packages may put none: /usr/local, /home, /tmp, /run (Debian Policy 9.1, FHS).
        ForbiddenPath = "forbidden-path",
        /// A file belongs to a user or group that does not exist (Debian Policy 10.9).
        UnknownOwner = "unknown-owner",
        /// A link that leads nowhere.
        DanglingSymlink = "dangling-symlink",
        /// A program or library for another processor than the package's.
        WrongArchitecture = "wrong-architecture",
        /// A program needs a library that no dependency brings.
        MissingLibrary = "missing-library",
        /// A script whose interpreter is not there (Debian Policy 10.4).
        BadInterpreter = "bad-interpreter",
        /// A smoke command did not do what the pipeline expects.
        SmokeFailed = "smoke-failed",
        /// A file is not as the pipeline says it must be.
        FileAssertion = "file-assertion",
        /// A unit file has a mistake (systemd-analyze verify).
        UnitInvalid = "unit-invalid",
        /// A unit is not enabled, or is, against the distro's policy.
        UnitNotEnabled = "unit-not-enabled",
        /// A service is not started by its installation, against the distro's policy.
        UnitNotStarted = "unit-not-started",
        /// A service does not start, or does not stay.
        ServiceFailed = "service-failed",
        /// A service writes errors to its journal.
        JournalError = "journal-error",
        /// A service runs on with its old program after an upgrade.
        ServiceNotRestarted = "service-not-restarted",
        /// A service runs on after its package was removed.
        ServiceNotStopped = "service-not-stopped",
        /// The version is not above that of the release before.
        VersionNotHigher = "version-not-higher",
        /// The release before cannot be upgraded.
        UpgradeFailed = "upgrade-failed",
        /// A configuration file that the user changed was overwritten (Debian Policy 10.7.3).
        ConffileOverwritten = "conffile-overwritten",
        /// A configuration file that nobody changed is still the old one.
        ConffileNotUpdated = "conffile-not-updated",
        /// Data that the service or the user made is gone after an upgrade.
        DataLost = "data-lost",
        /// The release before cannot be put back.
        RollbackFailed = "rollback-failed",
        /// It cannot be installed twice, or not again after removal (Debian Policy 6.2).
        ReinstallFailed = "reinstall-failed",
        /// It does not work without its documentation (Debian Policy 12.3).
        NeedsDocs = "needs-docs",
        /// Removing or purging failed.
        RemoveFailed = "remove-failed",
        /// A process of it still runs after removal.
        ProcessLeftBehind = "process-left-behind",
        /// A configuration file is gone although the package was not purged (Debian Policy 6.8, 10.7.3).
        ConfigLost = "config-lost",
        /// A file is left behind.
        FileLeftBehind = "file-left-behind",
        /// An empty folder is left behind.
        FolderLeftBehind = "folder-left-behind",
        /// A user is left behind.
        UserLeftBehind = "user-left-behind",
        /// A group is left behind.
        GroupLeftBehind = "group-left-behind",
        /// A link that enables or masks a unit is left behind.
        UnitLinkLeftBehind = "unit-link-left-behind",
        /// An alternative is left behind (update-alternatives).
        AlternativeLeftBehind = "alternative-left-behind",
        /// A cron job is left behind.
        CronLeftBehind = "cron-left-behind",
        /// A setting of sysctl.d is left behind.
        SysctlLeftBehind = "sysctl-left-behind",
        /// A setting of tmpfiles.d is left behind.
        TmpfilesLeftBehind = "tmpfiles-left-behind",
        /// A diversion is left behind (dpkg-divert).
        DiversionLeftBehind = "diversion-left-behind",
        /// An override of a file's mode is left behind (dpkg-statoverride).
        OverrideLeftBehind = "override-left-behind",
        /// The package database still knows the package after purge.
        PackageLeftBehind = "package-left-behind",
        /// A file that was there before the package is gone after it.
        FileLost = "file-lost",
        /// A file of somebody else is not what it was before the package.
        FileAltered = "file-altered",
        /// A cron job that stays after removal fails (Debian Policy 9.5).
        CronFails = "cron-fails",
        /// A setting of logrotate that stays after removal fails.
        LogrotateFails = "logrotate-fails",
        /// The distro's lint found something.
        Lint = "lint",
        /// Built again under other conditions, or under the same, the package is another.
        NotReproducible = "not-reproducible",
        /// It cannot be built under other conditions.
        FailsVaried = "fails-when-varied",
    }
}

reasons! {
    /// Why Packhold could not do its work. The words are stable.
    InfraReason {
        /// No container engine answers.
        NoEngine = "no-engine",
        /// The engine stopped answering in the middle of the work.
        EngineLost = "engine-lost",
        /// The engine answered with an error.
        EngineError = "engine-error",
        /// The distro's package mirror cannot be reached.
        MirrorUnreachable = "mirror-unreachable",
        /// No way to obtain the base image worked.
        NoBase = "no-base",
        /// A builder's own script failed.
        BuilderFailed = "builder-failed",
        /// A file system of the host was full.
        NoSpace = "no-space",
        /// A file of the host could not be read or written, or the archive is damaged.
        Io = "io",
        /// The user or the system asked to stop.
        Interrupted = "interrupted",
        /// A defect of Packhold itself.
        Internal = "internal",
    }
}
