use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::apt::Stanza;
use super::place::Place;
use super::yum::Entry;
use super::{
    Channel, Context, Offer, Options, Publication, PublishError, Published, Result, Site, Wanted, apt, name,
    page, yum,
};
use crate::model::{Digest, Format};
use crate::sign::Signer;
use crate::versions::Candidate;

/// What is to come into suites and trees.
#[derive(Default)]
struct Candidates<'a> {
    debs: Vec<(&'a Site, Vec<Candidate>)>,
    rpms: Vec<(&'a (Site, String), Vec<Candidate>)>,
}

/// What the guard found.
#[derive(Default)]
struct Guarded {
    /// What is no upgrade and may be none.
    lowered: Vec<String>,
    suites: BTreeMap<Site, apt::Draft>,
    trees: BTreeMap<(Site, String), yum::Draft>,
}

/// Repositories for apt and yum in one place.
pub struct Repository<P> {
    place: P,
    options: Options,
}

impl<P: Place> Repository<P> {
    /// The repository in `place`, which may be empty or written by another program.
    pub fn open(place: P, options: Options) -> Result<Self> {
        options.check()?;
        Ok(Self { place, options })
    }

    async fn context<'a>(
        &'a self,
        publication: &'a str,
        signer: Option<&'a dyn Signer>,
    ) -> Result<Context<'a>> {
        let mut certificates = Vec::new();
        if let Some(signer) = signer {
            certificates = signer.certificates()?;
            certificates.extend(page::known(&self.place).await?);
        }
        Ok(Context { options: &self.options, signer, certificates, publication, now: Timestamp::now() })
    }

    /// Adds packages to a channel. Without a signer clients have to be told to trust the place itself. What is there already
    /// is no error; the same version with other content is. Nothing is switched before all packages were read, are no step back ([`Options::guard`])
    /// and are in place.
    pub async fn publish(&self, publication: &Publication, signer: Option<&dyn Signer>) -> Result<Published> {
        let context = self.context(&publication.id, signer).await?;
        let _lock = self.place.lock().await?;
        self.keeps_signatures(signer).await?;
        let mut debs: BTreeMap<Site, Vec<apt::New<'_>>> = BTreeMap::new();
        let mut rpms: BTreeMap<(Site, String), Vec<(&Path, yum::Package)>> = BTreeMap::new();
        for package in &publication.packages {
            let site = Site {
                channel: publication.channel.clone(),
                distro: name::word("distro release", &package.distro)?,
            };
            let component = name::word("component", &package.component)?;
            if package.path.extension().is_some_and(|extension| extension == "rpm") {
                let read = yum::Package::read(&package.path)?;
                let architectures = match read.arch.as_str() {
                    "noarch" if package.architectures.is_empty() => {
                        let file =
                            package.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                        let reason = "it is for all architectures, and none is known".to_owned();
                        return Err(PublishError::Package { file, reason });
                    }
                    "noarch" => package.architectures.clone(),
                    own => vec![own.to_owned()],
                };
                for arch in architectures {
                    let arch = name::word("architecture", yum::basearch(&arch))?;
                    rpms.entry((site.clone(), arch)).or_default().push((&package.path, read.clone()));
                }
            } else {
                let new = apt::read(&site.distro, &component, &package.path)?;
                debs.entry(site).or_default().push(new);
            }
        }
        let mut candidates = Candidates::default();
        for (site, new) in &debs {
            candidates.debs.push((site, new.iter().map(|new| new.pooled.1.candidate()).collect()));
        }
        for (tree, new) in &rpms {
            candidates.rpms.push((tree, new.iter().map(|(_, package)| package.candidate()).collect()));
        }
        let guarded = self.guard(candidates, &context).await?;
        let mut pooled: BTreeMap<Site, Vec<apt::Pooled>> = BTreeMap::new();
        for (site, all) in debs {
            for new in all {
                apt::pool(&self.place, &new).await?;
                pooled.entry(site.clone()).or_default().push(new.pooled);
            }
        }
        let mut entries: BTreeMap<(Site, String), Vec<Entry>> = BTreeMap::new();
        for ((site, arch), all) in rpms {
            for (path, package) in all {
                let entry = yum::pool(&self.place, &site, &arch, path, package, &context).await?;
                entries.entry((site.clone(), arch.clone())).or_default().push(entry);
            }
        }
        self.add(pooled, entries, guarded, &context).await
    }

    /// Asks the guard of every suite and tree before the first one is changed; each is asked again when somebody else changed it meanwhile.
    async fn guard(&self, new: Candidates<'_>, context: &Context<'_>) -> Result<Guarded> {
        let mut guarded = Guarded::default();
        if self.options.guard.is_none() {
            return Ok(guarded);
        }
        let words = |site: &Site, found: Vec<Candidate>| -> Vec<String> {
            found.iter().map(|new| format!("{} {} for {}", new.package, new.version, site.distro)).collect()
        };
        for (site, new) in new.debs {
            let (found, draft) = apt::guard(&self.place, site, &new, context).await?;
            guarded.lowered.extend(words(site, found));
            guarded.suites.insert(site.clone(), draft);
        }
        for (tree, new) in new.rpms {
            let (site, arch) = tree;
            let (found, draft) = yum::guard(&self.place, site, arch, &new, context).await?;
            guarded.lowered.extend(words(site, found));
            guarded.trees.insert(tree.clone(), draft);
        }
        guarded.lowered.dedup();
        Ok(guarded)
    }

    /// The suites of a channel.
    async fn suites_of(&self, channel: &Channel) -> Result<Vec<Site>> {
        let mut sites = apt::sites(&self.place).await?;
        sites.retain(|site| site.channel == *channel);
        Ok(sites)
    }

    /// The trees of a channel, with their architectures.
    async fn trees_of(&self, channel: &Channel) -> Result<Vec<(Site, String)>> {
        let mut sites = yum::sites(&self.place).await?;
        sites.retain(|(site, _)| site.channel == *channel);
        Ok(sites)
    }

    /// What a channel has.
    pub async fn offers(&self, channel: &Channel) -> Result<Vec<Offer>> {
        let mut offers = Vec::new();
        for site in self.suites_of(channel).await? {
            let stanzas = apt::packages(&self.place, &site).await?;
            offers.extend(stanzas.into_iter().map(|(_, stanza)| Offer::of_deb(&site, stanza)));
        }
        for (site, arch) in self.trees_of(channel).await? {
            let entries = yum::packages(&self.place, &site, &arch).await?;
            offers.extend(entries.into_iter().map(|entry| Offer::of_rpm(&site, entry)));
        }
        Ok(offers)
    }

    /// What a channel has of packages of these names; the others are not looked at.
    pub async fn offers_of(&self, channel: &Channel, packages: &BTreeSet<String>) -> Result<Vec<Offer>> {
        let mut offers = Vec::new();
        for site in self.suites_of(channel).await? {
            let stanzas = apt::named(&self.place, &site, packages).await?;
            offers.extend(stanzas.into_iter().map(|stanza| Offer::of_deb(&site, stanza)));
        }
        for (site, arch) in self.trees_of(channel).await? {
            let entries = yum::named(&self.place, &site, &arch, packages).await?;
            offers.extend(entries.into_iter().map(|entry| Offer::of_rpm(&site, entry)));
        }
        Ok(offers)
    }

    /// Fails if something of the repository is signed and there is no signer: what users are told of it would be wrong.
    async fn keeps_signatures(&self, signer: Option<&dyn Signer>) -> Result<()> {
        if signer.is_some() {
            return Ok(());
        }
        for site in apt::sites(&self.place).await? {
            let key = format!("dists/{}/InRelease", site.suite());
            if self.place.size(&key).await?.is_some() {
                return Err(PublishError::WouldUnsign { key });
            }
        }
        for (site, arch) in yum::sites(&self.place).await? {
            if yum::is_signed(&self.place, &site, &arch).await? {
                let key = format!("rpm/{}/{}/{arch}/repodata/repomd.xml", site.channel, site.distro);
                return Err(PublishError::WouldUnsign { key });
            }
        }
        Ok(())
    }

    async fn add(
        &self,
        debs: BTreeMap<Site, Vec<apt::Pooled>>,
        rpms: BTreeMap<(Site, String), Vec<Entry>>,
        mut guarded: Guarded,
        context: &Context<'_>,
    ) -> Result<Published> {
        let mut published = Published { lowered: guarded.lowered, ..Published::default() };
        for (site, pooled) in debs {
            let draft = guarded.suites.remove(&site);
            published.added.extend(apt::add(&self.place, &site, &pooled, draft, context).await?);
            published.indexes.push(format!("dists/{}", site.suite()));
        }
        for (tree, entries) in rpms {
            let draft = guarded.trees.remove(&tree);
            let (site, arch) = tree;
            let index = format!("rpm/{}/{}/{arch}", site.channel, site.distro);
            let added = yum::add(&self.place, &site, &arch, &entries, draft, context).await?;
            published.added.extend(added.keys);
            published.unsigned.extend(added.unsigned.into_iter().map(|name| (index.clone(), name)));
            published.signers.extend(added.signers);
            published.indexes.push(index);
        }
        self.tell_users(context.signer).await?;
        self.place.settle().await?;
        Ok(published)
    }

    /// Writes the page that says how to add the repository, where its address is known.
    async fn tell_users(&self, signer: Option<&dyn Signer>) -> Result<()> {
        let keys = signer.map(|signer| signer.certificates()).transpose()?.unwrap_or_default();
        let Some(url) = &self.options.url else {
            return page::write(&self.place, page::keys(&keys)).await;
        };
        let mut offers = page::Offers { suites: BTreeMap::new(), trees: BTreeMap::new() };
        for site in apt::sites(&self.place).await? {
            offers.suites.insert(site.suite(), apt::components(&self.place, &site).await?);
        }
        for (site, arch) in yum::sites(&self.place).await? {
            let signers = yum::signers(&self.place, &site, &arch).await?;
            offers.trees.entry(site).or_default().extend(signers);
        }
        page::write(&self.place, page::files(&self.options, url, &offers, &keys)?).await
    }

    /// Makes the `.repo` file of a distro release name the keys that have signed its trees as they are now, if there is one.
    async fn renew_keys(&self, site: &Site, signer: Option<&dyn Signer>) -> Result<()> {
        let keys = signer.map(|signer| signer.certificates()).transpose()?.unwrap_or_default();
        let mut signers = BTreeSet::new();
        for (_, arch) in self.trees_of(&site.channel).await?.iter().filter(|(tree, _)| tree == site) {
            signers.extend(yum::signers(&self.place, site, arch).await?);
        }
        page::renew(&self.place, site, &page::keys_of_tree(&keys, &signers)).await?;
        page::write(&self.place, page::keys(&keys)).await
    }

    /// Puts into channel `to` what channel `from` has, the same bytes: these packages, all of which must be there, or everything if there are none.
    /// `id` is what the history calls it.
    pub async fn promote(
        &self,
        id: &str,
        from: &Channel,
        to: &Channel,
        wanted: &[Wanted],
        signer: Option<&dyn Signer>,
    ) -> Result<Published> {
        let context = self.context(id, signer).await?;
        let _lock = self.place.lock().await?;
        self.keeps_signatures(signer).await?;
        let mut missing: BTreeSet<usize> = (0..wanted.len()).collect();
        let mut takes = |format: Format, distro: &str, name: &str, version: &str, digest: &Digest| {
            let fits = |wanted: &Wanted| {
                (wanted.format, wanted.distro.as_str(), wanted.package.as_str(), wanted.version.as_str())
                    == (format, distro, name, version)
                    && wanted.digest.is_none_or(|wanted| wanted == *digest)
            };
            let found = wanted.iter().position(fits);
            found.inspect(|at| _ = missing.remove(at)).is_some() || wanted.is_empty()
        };
        let (mut debs, mut rpms) = (BTreeMap::new(), BTreeMap::new());
        for site in self.suites_of(from).await? {
            let mut pooled = apt::packages(&self.place, &site).await?;
            pooled.retain(|(_, Stanza { package, version, digest, .. })| {
                takes(Format::Deb, &site.distro, package, version, digest)
            });
            if !pooled.is_empty() {
                debs.insert(Site { channel: to.clone(), distro: site.distro }, pooled);
            }
        }
        for (site, arch) in self.trees_of(from).await? {
            let mut entries = yum::packages(&self.place, &site, &arch).await?;
            entries.retain(|entry| {
                takes(Format::Rpm, &site.distro, &entry.name, &entry.version(), &entry.digest)
            });
            if !entries.is_empty() {
                let target = Site { channel: to.clone(), distro: site.distro.clone() };
                rpms.insert((target, arch), entries);
            }
        }
        let missing = missing.first().and_then(|at| wanted.get(*at));
        if missing.is_some() || debs.is_empty() && rpms.is_empty() {
            let what = match missing {
                Some(Wanted { package, version, distro, .. }) => format!("{package} {version} for {distro}"),
                None => "any package".to_owned(),
            };
            return Err(PublishError::NothingToPromote { channel: from.to_string(), what });
        }
        let mut candidates = Candidates::default();
        for (site, pooled) in &debs {
            candidates.debs.push((site, pooled.iter().map(|(_, stanza)| stanza.candidate()).collect()));
        }
        for (tree, entries) in &rpms {
            candidates.rpms.push((tree, entries.iter().map(Entry::candidate).collect()));
        }
        let guarded = self.guard(candidates, &context).await?;
        for ((target, arch), entries) in &rpms {
            let site = Site { channel: from.clone(), distro: target.distro.clone() };
            yum::share(&self.place, entries, arch, &site, target).await?;
        }
        self.add(debs, rpms, guarded, &context).await
    }

    /// Brings back what a channel had before the publication that it shows now: every suite and tree that this one changed. Again,
    /// it goes further back. Returns them.
    pub async fn roll_back(&self, channel: &Channel, signer: Option<&dyn Signer>) -> Result<Vec<String>> {
        let context = self.context("", signer).await?;
        let _lock = self.place.lock().await?;
        let mut last = Vec::new();
        for site in self.suites_of(channel).await? {
            last.extend(apt::last(&self.place, &site).await?.map(|state| (state, site, None)));
        }
        for (site, arch) in self.trees_of(channel).await? {
            last.extend(yum::last(&self.place, &site, &arch).await?.map(|state| (state, site, Some(arch))));
        }
        let nothing = || PublishError::NothingBefore { channel: channel.to_string() };
        let newest = last.iter().max_by_key(|(last, ..)| last.state.time);
        let newest = newest.map(|(last, ..)| last.state.publication.clone()).ok_or_else(nothing)?;
        last.retain(|(last, ..)| last.state.publication == newest);
        // All of them or none.
        if last.iter().any(|(last, ..)| !last.has_before) {
            return Err(nothing());
        }
        let (mut indexes, mut trees) = (Vec::new(), BTreeSet::new());
        for (_, site, arch) in last {
            match arch {
                None => {
                    apt::roll_back(&self.place, &site, &context).await?;
                    indexes.push(format!("dists/{}", site.suite()));
                }
                Some(arch) => {
                    yum::roll_back(&self.place, &site, &arch, &context).await?;
                    indexes.push(format!("rpm/{}/{}/{arch}", site.channel, site.distro));
                    trees.insert(site);
                }
            }
        }
        for site in trees {
            self.renew_keys(&site, signer).await?;
        }
        self.place.settle().await?;
        Ok(indexes)
    }
}
