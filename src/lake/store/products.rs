//! The rows of catalogues: put aside in files of their own, part by part, and made part of their tables by the commit of their document.
//!
//! A catalogue may have millions of rows: neither a request nor this process holds them. Each document's rows lie in files nobody shares,
//! so that replacing them is naming other files, and reads nothing. Files put aside lie in folders of their own until a commit names them;
//! what is not named is removed when the document's rows are sent anew, or when the store is opened.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
};

use deltalake::kernel::Add;

use crate::{
    Error,
    format::{Catalogue, CataloguePart, Commit},
    products::batches,
};

use super::Store;

/// The files of a document, by table.
pub(super) type OwnFiles = HashMap<String, [Vec<String>; 3]>;

/// What was put aside for a document.
#[derive(Default)]
pub(super) struct Aside {
    parts: u32,
    adds: [Vec<Add>; 3],
}

impl Store {
    /// Puts some rows of a catalogue aside.
    ///
    /// # Errors
    /// [`Error::Refused`] for a part out of turn: the ones before it are not here any more.
    pub async fn put_aside(&mut self, part: &CataloguePart) -> Result<(), Error> {
        if part.part == 0
            && let Some(before) = self.aside.remove(&part.document_id)
        {
            self.forget_aside(&before.adds)?;
        }
        let known = self.aside.get(&part.document_id).map_or(0, |aside| aside.parts);
        if known != part.part {
            let why = format!("part {} of a catalogue was sent, {known} are here: send all again", part.part);
            return Err(Error::Refused(why));
        }
        let mut more: [Vec<Add>; 3] = Default::default();
        let tables = [&self.products, &self.features, &self.prices];
        for (number, (table, batch)) in tables.into_iter().zip(batches(part)?).enumerate() {
            match table.put_aside(batch).await {
                Ok(made) => more[number] = made,
                Err(error) => {
                    // The part may be sent again: half of it must not stay.
                    self.forget_aside(&more)?;
                    return Err(error);
                }
            }
        }
        let aside = self.aside.entry(part.document_id.clone()).or_default();
        aside.parts += 1;
        for (adds, more) in aside.adds.iter_mut().zip(more) {
            adds.extend(more);
        }
        Ok(())
    }

    fn forget_aside(&self, files: &[Vec<Add>; 3]) -> Result<(), Error> {
        let tables = [&self.products, &self.features, &self.prices];
        tables.into_iter().zip(files).try_for_each(|(table, files)| table.forget_aside(files))
    }

    /// Refuses a commit that names parts which are not here.
    pub(super) fn check_aside(&self, catalogues: &[Catalogue]) -> Result<(), Error> {
        let is_here =
            |named: &&Catalogue| self.aside.get(&named.document_id).map_or(0, |aside| aside.parts) == named.parts;
        match catalogues.iter().find(|named| !is_here(named)) {
            Some(named) => {
                Err(Error::Refused(format!("{} parts of a catalogue are not here: send all again", named.parts)))
            }
            None => Ok(()),
        }
    }

    /// Lets go of the rows of the documents `known`, and takes in those the commit names. Returns the files of its documents.
    pub(super) async fn write_catalogues(
        &mut self,
        commit: &Commit,
        known: &BTreeSet<&str>,
        made: &mut Vec<PathBuf>,
    ) -> Result<OwnFiles, Error> {
        let mut gone: [Vec<String>; 3] = Default::default();
        for files in known.iter().filter_map(|id| self.catalogue_files.get(*id)) {
            for (gone, files) in gone.iter_mut().zip(files) {
                gone.extend(files.iter().cloned());
            }
        }
        let (mut new, mut own): ([Vec<Add>; 3], OwnFiles) = Default::default();
        for named in &commit.catalogues {
            let Some(aside) = self.aside.get(&named.document_id) else { continue };
            let names = |adds: &Vec<Add>| adds.iter().map(|add| add.path.clone()).collect();
            own.insert(named.document_id.clone(), aside.adds.each_ref().map(names));
            let tables = [&self.products, &self.features, &self.prices];
            for ((table, adds), new) in tables.into_iter().zip(&aside.adds).zip(&mut new) {
                adds.iter().try_for_each(|add| table.take_in(add, made))?;
                new.extend(adds.iter().cloned());
            }
        }
        let tables = [&mut self.products, &mut self.features, &mut self.prices];
        for ((table, gone), new) in tables.into_iter().zip(&gone).zip(new) {
            table.exchange(gone, new, made).await?;
        }
        Ok(own)
    }

    /// Takes note of what [`Self::write_catalogues`] did, once it counts.
    pub(super) fn note_catalogues(&mut self, known: &BTreeSet<&str>, own: OwnFiles) {
        known.iter().for_each(|id| drop(self.catalogue_files.remove(*id)));
        own.keys().for_each(|id| drop(self.aside.remove(id)));
        self.catalogue_files.extend(own);
    }

    /// Reads whose rows each file holds.
    pub(super) fn locate_catalogues(&mut self) -> Result<(), Error> {
        self.catalogue_files.clear();
        for (number, table) in [&self.products, &self.features, &self.prices].into_iter().enumerate() {
            for file in table.files() {
                if let Some(document) = table.first_text(&file.path, "document_id")? {
                    self.catalogue_files.entry(document).or_default()[number].push(file.path);
                }
            }
        }
        Ok(())
    }
}
