//! The folder of a store that is written: whose it is, and which of its shards are whole.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use artifacts::Lock;
use lm::HookPoint;

use super::claim::{self, Begun, SETTINGS_FILE};
use super::export::EXPORT_FILE;
use super::hashed::{Hashed, footer_crc32c_at};
use super::manifest::{MANIFEST_FILE, Manifest, ShardEntry, shard_file};
use super::open_shard::OpenShard;
use super::tokens::{self, TOKENS_FILE};
use super::writer::{HookWriter, StoreWriter, encode};
use crate::Error;

impl StoreWriter {
    /// Finds the shards that are whole, and with them whether the store is complete; returns whether there is a manifest.
    ///
    /// A process that does a part reads its own shards. Of those of other parts the manifest is believed where they have the
    /// size that it names, else they count as not there until [`StoreWriter::finish`] looks.
    pub(super) fn look(&mut self) -> Result<bool, Error> {
        let manifest = self.recorded()?;
        let (windows, window_shards) = (self.layout.windows(), self.layout.window_shards());
        self.hooks.clear();
        for (&hook, &shape) in &self.layout.hooks {
            let entry = manifest.as_ref().and_then(|manifest| manifest.hooks.get(&hook));
            let recorded = |shard: usize| entry.and_then(|entry| entry.shards.get(shard));
            let shards = (0..self.layout.shards()).map(|shard| match self.part.holds(shard / window_shards, windows) {
                true => self.find(hook, shape.width, shard, recorded(shard)),
                false => Ok(recorded(shard).filter(|entry| self.has_size(entry)).cloned()),
            });
            let (shards, open, filled) = (shards.collect::<Result<Vec<_>, _>>()?, Vec::new(), 0);
            let writer = HookWriter {
                shape,
                shards,
                open,
                filled,
            };
            self.hooks.insert(hook, writer);
        }
        let whole = self.hooks.values().flat_map(|hook| &hook.shards).all(Option::is_some);
        let found = manifest.is_some();
        let whole = whole && self.has_tokens()?;
        self.complete = manifest.filter(|manifest| whole && manifest.tokens == self.tokens);
        Ok(found)
    }

    /// The manifest in the folder, if there is one; refuses that of another harvest. One that is damaged counts as missing
    /// where `harvest.json` says that the folder is this harvest's: it is made again from the shards.
    pub(super) fn recorded(&self) -> Result<Option<Manifest>, Error> {
        let settings = &self.layout.provenance.settings;
        let manifest = match Manifest::find(&self.dir) {
            Ok(found) => found.map(|(manifest, _)| manifest),
            Err(Error::BadManifest { .. }) if self.is_begun()? => None,
            Err(error) => return Err(error),
        };
        if let Some(manifest) = &manifest {
            claim::check_settings(&self.dir.join(MANIFEST_FILE), &manifest.provenance.settings, settings)?;
        }
        Ok(manifest)
    }

    /// Whether the folder's `harvest.json` has the settings of this harvest; it is refused if it has others.
    pub(super) fn is_begun(&self) -> Result<bool, Error> {
        let found = Begun::read(&self.dir)?;
        if let Some(found) = &found {
            found.check(&self.dir.join(SETTINGS_FILE), &self.layout.provenance.settings)?;
        }
        Ok(found.is_some())
    }

    /// Whether the tokens of the harvest are in the folder.
    pub(super) fn has_tokens(&self) -> Result<bool, Error> {
        tokens::is_whole(&self.dir.join(TOKENS_FILE), &self.tokens)
    }

    /// Refuses to write on in a folder that this harvest had begun and that is not there any more.
    pub(super) fn check_begun(&self) -> Result<(), Error> {
        match self.is_begun()? {
            true => Ok(()),
            false => Err(Error::Vanished {
                path: self.dir.join(SETTINGS_FILE),
            }),
        }
    }

    /// Takes the folder for this harvest: it must hold no part of another.
    pub(super) fn begin(&self) -> Result<(), Error> {
        std::fs::create_dir_all(&self.dir).map_err(|source| Error::io(&self.dir, source))?;
        let begun = self.is_begun()?;
        let known = begun || self.recorded()?.is_some();
        if let Some(path) = self.foreign(known)? {
            return Err(Error::Occupied {
                path,
                reason: "is not of this harvest, which needs a folder of its own".to_owned(),
            });
        }
        if !known {
            self.refuse_foreign_shards()?;
            let path = self.dir.join(TOKENS_FILE);
            if path.exists() && !self.has_tokens()? {
                let reason = "holds other tokens than this harvest reads".to_owned();
                return Err(Error::Occupied { path, reason });
            }
        }
        if !begun {
            claim::write_new(&self.dir.join(SETTINGS_FILE), &Begun::new(&self.layout))?;
            // Another process may have been faster.
            self.is_begun()?;
        }
        Ok(())
    }

    /// Refuses shards of another harvest, in a folder of which nothing but the shards says whose it is.
    fn refuse_foreign_shards(&self) -> Result<(), Error> {
        for (&hook, shape) in &self.layout.hooks {
            for shard in 0..self.layout.shards() {
                let path = self.dir.join(shard_file(hook, shard));
                match OpenShard::on_disk(&path, self.expected(hook, shape.width, shard)) {
                    Err(Error::ForeignShard { path, differences }) => {
                        return Err(Error::OtherConfig { path, differences });
                    }
                    Err(error @ (Error::WrongVersion { .. } | Error::Io { .. })) => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// What the folder holds that would be taken for a part of this harvest and is none. Only folders of hooks, shards and
    /// exports are looked at: a note that somebody left there does not matter.
    fn foreign(&self, begun: bool) -> Result<Option<PathBuf>, Error> {
        for path in claim::entries(&self.dir)? {
            let name = claim::name(&path);
            let hook = name.parse::<HookPoint>().ok();
            match hook.filter(|hook| self.layout.hooks.contains_key(hook)) {
                Some(hook) if path.is_dir() => {
                    let number = |path: &PathBuf| {
                        let number = claim::name(path).strip_suffix(".parquet")?.parse::<usize>().ok()?;
                        let own = self.dir.join(shard_file(hook, number)) == *path && number < self.layout.shards();
                        Some(own)
                    };
                    let own = |path: &PathBuf| number(path).unwrap_or(begun);
                    if let Some(path) = claim::entries(&path)?.into_iter().find(|path| !own(path)) {
                        return Ok(Some(path));
                    }
                }
                _ if name == SETTINGS_FILE || name == MANIFEST_FILE => {}
                None if hook.is_none() && name != EXPORT_FILE => {}
                _ => return Ok(Some(path)),
            }
        }
        Ok(None)
    }

    /// Makes sure that the shards found or written are still there: the folder may have been removed meanwhile.
    pub(super) fn look_again(&self) -> Result<(), Error> {
        self.check_begun()?;
        if !self.has_tokens()? {
            let path = self.dir.join(TOKENS_FILE);
            return Err(Error::Vanished { path });
        }
        let shards = self.hooks.values().flat_map(|hook| &hook.shards).flatten();
        match shards.into_iter().find(|entry| !self.has_size(entry)) {
            Some(entry) => Err(Error::Vanished {
                path: self.dir.join(&entry.file),
            }),
            None => Ok(()),
        }
    }

    /// Whether a shard is there with the size that is known of it.
    fn has_size(&self, entry: &ShardEntry) -> bool {
        let size = std::fs::metadata(self.dir.join(&entry.file)).map(|metadata| metadata.len());
        size.is_ok_and(|size| size == entry.bytes)
    }

    /// Removes what killed processes left under temporary names, if no other process writes the store. The files are useless
    /// and harm nobody, so a folder that may not be changed keeps them.
    pub(super) fn remove_leftovers(&self) {
        let alone = match &self.lock {
            Some(lock) => lock.alone(),
            None => Lock::try_alone(&self.dir.join(SETTINGS_FILE)).is_some(),
        };
        if alone {
            let hooks = self.hooks.keys().map(|hook| self.dir.join(hook.to_string()));
            std::iter::once(self.dir.clone())
                .chain(hooks)
                .for_each(|dir| remove_partial(&dir));
        }
    }

    /// The entry of a shard that is whole on disk; `None` when it is to be written.
    pub(super) fn find(
        &self,
        hook: HookPoint,
        width: usize,
        shard: usize,
        recorded: Option<&ShardEntry>,
    ) -> Result<Option<ShardEntry>, Error> {
        let file = shard_file(hook, shard);
        let path = self.dir.join(&file);
        let expected = self.expected(hook, width, shard);
        let open = match OpenShard::on_disk(&path, expected) {
            Ok(open) => open,
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => return Ok(None), // not there, damaged, or copied from another place: to be written
        };
        let failed = |source| Error::io(&path, source);
        let mut hashed = Hashed::new(io::sink());
        File::open(&path)
            .and_then(|mut file| io::copy(&mut file, &mut hashed))
            .map_err(failed)?;
        let footer = footer_crc32c_at(&path).map_err(failed)?;
        let entry = hashed.finish().entry(file, expected.rows, footer);
        let whole = match recorded {
            Some(recorded) => *recorded == entry,
            // Without a manifest: its contents must have their checksums, and give the very bytes that are there, for nothing
            // else guards the footer.
            None => match open.contents() {
                Ok(data) => encode(data, expected, io::sink()).is_ok_and(|hashes| hashes.is_of(&entry)),
                Err(_) => false,
            },
        };
        Ok(whole.then_some(entry))
    }
}

/// Removes the temporary files in a folder.
fn remove_partial(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(".partial-") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
