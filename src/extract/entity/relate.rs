//! Relations a document says: what stands in one line belongs together, and what a whole document is about.

use std::collections::{BTreeMap, HashSet};

use super::{
    About, Collected, Entity,
    EntityKind::{self, Certificate, Customer, Issue, Manufacturer, Product, Standard},
    Found, Knowledge, MAX_RELATIONS, Relation,
    RelationKind::{self, CertifiedBy, Concerns, ConformsTo, HasGtin, HasType, IssuedTo, MadeBy, ReportedBy},
    issue::Nature,
    key,
};

/// A document that names more of a kind is a list, and says nothing as a whole.
const A_FEW: usize = 64;

struct Relations {
    seen: HashSet<(usize, RelationKind, usize)>,
    all: Vec<Relation>,
}

impl Relations {
    fn add(&mut self, from: usize, kind: RelationKind, to: usize, passage: usize) {
        if from != to && self.all.len() < MAX_RELATIONS && self.seen.insert((from, kind, to)) {
            self.all.push(Relation { from, kind, to, passage });
        }
    }
}

/// Draws the relations of one document.
pub(crate) fn relate(about: &About<'_>, nature: &Nature, mut found: Collected) -> Knowledge {
    let own_issue = nature.is_issue.then(|| own_issue(about, &mut found)).flatten();
    let mut relations = Relations { seen: HashSet::new(), all: Vec::new() };
    for line in &found.lines {
        in_line(&found.entities, line.passage, &line.found, &mut relations);
    }
    let of = |kind: EntityKind| -> Vec<usize> {
        let all = found.entities.iter().enumerate().filter(|(_, entity)| entity.kind == kind);
        all.map(|(index, _)| index).collect()
    };
    let (products, certificates, standards) = (of(Product), of(Certificate), of(Standard));
    let passage = |index: usize| found.entities[index].passage;
    if let Some(issue) = own_issue {
        for thing in products.iter().chain(&certificates).take(A_FEW) {
            relations.add(issue, Concerns, *thing, passage(*thing));
        }
        for customer in of(Customer).into_iter().take(A_FEW) {
            relations.add(issue, ReportedBy, customer, passage(customer));
        }
    }
    let makers = of(Manufacturer);
    if nature.is_certificate && !nature.is_issue && certificates.len() == 1 {
        let certificate = certificates[0];
        products.iter().for_each(|product| relations.add(*product, CertifiedBy, certificate, passage(*product)));
        standards.iter().for_each(|standard| relations.add(certificate, ConformsTo, *standard, passage(*standard)));
        if let [maker] = makers[..] {
            relations.add(certificate, IssuedTo, maker, passage(maker));
        }
    }
    let main = main_products(about, &found.entities, &products);
    if (nature.is_makers || nature.is_certificate)
        && let [maker] = makers[..]
    {
        products.iter().for_each(|product| relations.add(*product, MadeBy, maker, passage(*product)));
    }
    if !nature.is_issue {
        for product in &main {
            standards
                .iter()
                .take(A_FEW)
                .for_each(|standard| relations.add(*product, ConformsTo, *standard, passage(*standard)));
        }
        // A sheet about one thing: its article number, its type code and its GTIN stand in different rows.
        single_forms(&found.entities, &main, &products, &mut relations);
    }
    Knowledge { entities: found.entities, relations: relations.all }
}

/// Returns the complaint a document is: the number it gives itself, else the document under its own title.
fn own_issue(about: &About<'_>, found: &mut Collected) -> Option<usize> {
    let issues: Vec<usize> =
        found.entities.iter().enumerate().filter(|(_, entity)| entity.kind == Issue).map(|(index, _)| index).collect();
    if let Some(first) = issues.first() {
        return Some(*first);
    }
    let file = about.path.rsplit('/').next().unwrap_or(about.path);
    let name = about.title.filter(|title| !title.trim().is_empty()).unwrap_or(file).trim();
    let name: String = name.chars().take(200).collect();
    let (key, end) = (key::name(file), name.len());
    let one = Found { kind: Issue, key, name, start: 0, end, attributes: BTreeMap::new() };
    found.add(0, one)
}

/// What one line says.
fn in_line(entities: &[Entity], passage: usize, found: &[(usize, usize, usize)], relations: &mut Relations) {
    let of = |kind: EntityKind| found.iter().filter(move |(index, ..)| entities[*index].kind == kind);
    let form = |index: usize| entities[index].attributes.get("form").map_or("", String::as_str);
    let products: Vec<&(usize, usize, usize)> = of(Product).collect();
    if products.len() <= A_FEW {
        let articles: Vec<_> = products.iter().filter(|one| form(one.0) == "article").collect();
        let types: Vec<_> = products.iter().filter(|one| form(one.0) == "type").collect();
        for article in &articles {
            // `KX 4 (7101042)`: the code before the number; `Artikelnummer: 7101042; Bezeichnung: … KX 4`: the only one behind.
            let before = types.iter().rfind(|one| one.2 <= article.1 && article.1 - one.2 <= 40);
            let only = (articles.len() == 1).then(|| types.first()).flatten();
            if let Some(code) = before.or(only) {
                relations.add(article.0, HasType, code.0, passage);
            }
        }
        let gtins: Vec<_> = products.iter().filter(|one| form(one.0) == "gtin").collect();
        if let ([gtin], Some(product)) = (&gtins[..], articles.first().or(types.first())) {
            relations.add(product.0, HasGtin, gtin.0, passage);
        }
        for certificate in of(Certificate) {
            products.iter().for_each(|product| relations.add(product.0, CertifiedBy, certificate.0, passage));
        }
        for standard in of(Standard) {
            products.iter().for_each(|product| relations.add(product.0, ConformsTo, standard.0, passage));
        }
        for issue in of(Issue) {
            products.iter().for_each(|product| relations.add(issue.0, Concerns, product.0, passage));
        }
        let makers: Vec<_> = of(Manufacturer).collect();
        if let [maker] = makers[..] {
            products.iter().for_each(|product| relations.add(product.0, MadeBy, maker.0, passage));
        }
    }
    for issue in of(Issue) {
        of(Certificate).for_each(|certificate| relations.add(issue.0, Concerns, certificate.0, passage));
        of(Customer).for_each(|customer| relations.add(issue.0, ReportedBy, customer.0, passage));
    }
}

/// Returns the products a document is about: those its title or file name names.
fn main_products(about: &About<'_>, entities: &[Entity], products: &[usize]) -> Vec<usize> {
    let file = about.path.rsplit('/').next().unwrap_or(about.path);
    let head = key::product(&format!("{} {}", file.replace('_', " "), about.title.unwrap_or_default()));
    let is_named = |index: &&usize| {
        let key = &entities[**index].key;
        // `kx4` is not named by `kx40`.
        head.match_indices(key.as_str()).any(|(at, _)| {
            let next = head[at + key.len()..].chars().next();
            !next.is_some_and(|next| next.is_ascii_digit() || next == '.')
        })
    };
    products.iter().filter(is_named).copied().collect()
}

fn single_forms(entities: &[Entity], main: &[usize], products: &[usize], relations: &mut Relations) {
    let of = |all: &[usize], form: &str| -> Vec<usize> {
        let is_of = |index: &&usize| entities[**index].attributes.get("form").is_some_and(|found| found == form);
        all.iter().filter(is_of).copied().collect()
    };
    let passage = |index: usize| entities[index].passage;
    let (codes, articles, gtins) = (of(main, "type"), of(products, "article"), of(products, "gtin"));
    if let ([code], Some(article)) = (&codes[..], articles.first()) {
        // The number of the sheet's own product comes first; those of accessories stand behind.
        if !relations.seen.iter().any(|(from, kind, _)| from == article && *kind == HasType) {
            relations.add(*article, HasType, *code, passage(*article));
        }
    }
    if let ([gtin], Some(product)) = (&gtins[..], articles.first().or(codes.first())) {
        relations.add(*product, HasGtin, *gtin, passage(*gtin));
    }
}
