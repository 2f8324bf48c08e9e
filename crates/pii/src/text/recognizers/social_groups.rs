//! Nationalities, religions and political groups: special categories of personal data (GDPR, article 9).
//!
//! The words are common, so that one counts only where the text says that somebody belongs to the group.

use std::ops::Range;

use crate::{Entity, text::input::RecognizerInput};

use super::{LiteralRule, RuleMatch, WordEdges};

pub(crate) const LITERAL_RULES: &[LiteralRule] = &[LiteralRule {
    entity: Entity::Nrp,
    name: "group_of_person",
    literals: &[
        "nationality",
        "citizenship",
        "religion",
        "ethnicity",
        "political affiliation",
        "political party",
        "denomination",
        "faith",
        "citizen",
        "national",
        "immigrant",
        "i am",
        "i'm",
        "he is",
        "he's",
        "she is",
        "she's",
    ],
    edges: WordEdges::Both,
    find: group,
}];

/// Names of members of groups, in order.
const GROUPS: &str = "\
Afghan African Albanian Algerian American Amish Andorran Anglican Angolan Arab Argentine Argentinian \
Armenian Asian Atheist Australian Austrian Azerbaijani Bahraini Bangladeshi Baptist Basque Bavarian \
Belarusian Belgian Bengali Berber Bolivian Bosnian Brazilian Breton British Buddhist Bulgarian Burmese \
Cambodian Cameroonian Canadian Catalan Catholic Chilean Chinese Colombian Communist Congolese Conservative \
Croat Croatian Cuban Cypriot Czech Dane Danish Democrat Dominican Druze Dutch Ecuadorian Egyptian Emirati \
English Eritrean Estonian Ethiopian European Evangelical Fijian Filipino Finn Finnish French Gambian \
Georgian German Ghanaian Greek Guatemalan Guyanese Haitian Hindu Hispanic Honduran Hungarian Icelandic \
Indian Indonesian Iranian Iraqi Irish Israeli Italian Ivorian Jain Jamaican Japanese Jew Jewish Jordanian \
Kazakh Kenyan Korean Kosovar Kurd Kurdish Kuwaiti Kyrgyz Laotian Latino Latvian Lebanese Liberal Liberian \
Libertarian Libyan Lithuanian Lutheran Macedonian Malagasy Malawian Malaysian Malian Maltese Maori Mauritian \
Mennonite Methodist Mexican Moldovan Mongolian Mormon Moroccan Mozambican Muslim Namibian Nepalese Nepali \
Nicaraguan Nigerian Norwegian Omani Orthodox Pakistani Palestinian Panamanian Paraguayan Pentecostal Persian \
Peruvian Pole Polish Portuguese Presbyterian Protestant Punjabi Qatari Quaker Republican Romani Romanian \
Russian Rwandan Salvadoran Saudi Scot Scottish Senegalese Serb Serbian Shia Shiite Sikh Singaporean Slovak \
Slovene Slovenian Socialist Somali Spanish Sudanese Sunni Swede Swedish Swiss Syrian Taiwanese Tajik Tamil \
Tanzanian Thai Tibetan Togolese Tunisian Turk Turkish Turkmen Ugandan Ukrainian Uruguayan Uyghur Uzbek \
Venezuelan Vietnamese Welsh Yemeni Zambian Zimbabwean Zoroastrian";

/// Match of a group right behind the words that say that somebody belongs to it, and a few linking ones.
fn group(input: RecognizerInput<'_>, key: Range<usize>) -> Option<RuleMatch> {
    let mut rest = input.lookahead(key.end, 40).trim_start_matches(['"', '\'', ' ', ':', '=', ',']);
    for link in ["is ", "was ", "a ", "an ", "the ", "of ", "\""] {
        rest = rest.strip_prefix(link).unwrap_or(rest);
    }
    let word = rest.split(|c: char| !c.is_alphabetic()).next()?;
    let gap = input.lookahead(key.end, 40).len() - rest.len();
    let start = key.end + gap;
    let known =
        word.starts_with(|c: char| c.is_ascii_uppercase()) && GROUPS.split(' ').any(|group| group == word);
    let span = start..start + word.len();
    (known && gap > 0 && !input.touches_word(&span)).then(|| RuleMatch::keyed(span, 0.7))
}
