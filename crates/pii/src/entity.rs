//! Kinds of personal data and secrets, and their names on the wire.
//!
//! Names are Presidio's where Presidio has one, then AWS Comprehend's, then our own for secrets.
//! They are part of the public contract: placeholders and selections use them.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! entities {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal, )*) => {
        /// Kind of personal data or secret.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Entity { $( $(#[$doc])* $variant, )* }

        impl Entity {
            /// Every entity, in declaration order.
            pub const ALL: &'static [Entity] = &[ $( Entity::$variant, )* ];

            /// Stable name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Entity::$variant => $name, )* }
            }
        }
    };
}

entities! {
    /// A person's name. Found by models, not by rules.
    Person = "PERSON",
    /// A place or a postal address. Found by models, not by rules.
    Location = "LOCATION",
    /// An organisation's name. Found by models, not by rules.
    Organization = "ORGANIZATION",

    /// RFC 5321 mailbox with a dotted domain.
    EmailAddress = "EMAIL_ADDRESS",
    /// E.164 international, North American and other national telephone numbers.
    PhoneNumber = "PHONE_NUMBER",
    /// RFC 3986 web address, or a bare domain under a well-known top-level domain.
    Url = "URL",
    /// IPv4 or IPv6 address.
    IpAddress = "IP_ADDRESS",
    /// IEEE 802 48-bit hardware address.
    MacAddress = "MAC_ADDRESS",
    /// RFC 9562 identifier of a person, an account or a device, where the text says so.
    Uuid = "UUID",
    /// A person's nationality, religion or political group, where the text says that it is one.
    Nrp = "NRP",
    /// A calendar date, or a date with a time.
    DateTime = "DATE_TIME",
    /// A person's age.
    Age = "AGE",
    /// A vehicle's licence plate, where the text says that it is one.
    LicensePlate = "LICENSE_PLATE",
    /// ISO 3779 vehicle identification number.
    VehicleIdentificationNumber = "VEHICLE_IDENTIFICATION_NUMBER",

    /// ISO/IEC 7812 payment card number.
    CreditCard = "CREDIT_CARD",
    /// Card verification value.
    CreditDebitCvv = "CREDIT_DEBIT_CVV",
    /// Card expiry date.
    CreditDebitExpiry = "CREDIT_DEBIT_EXPIRY",
    /// Personal identification number of a card or a device.
    Pin = "PIN",
    /// ISO 13616 international bank account number.
    IbanCode = "IBAN_CODE",
    /// ISO 9362 business identifier code.
    SwiftCode = "SWIFT_CODE",
    /// American Bankers Association routing transit number.
    AbaRoutingNumber = "ABA_ROUTING_NUMBER",
    /// Account number at a bank of the United States.
    UsBankNumber = "US_BANK_NUMBER",
    /// Bitcoin or Ethereum address.
    Crypto = "CRYPTO",

    /// United States social security number.
    UsSsn = "US_SSN",
    /// United States individual taxpayer identification number.
    UsItin = "US_ITIN",
    /// United States passport number.
    UsPassport = "US_PASSPORT",
    /// Driver licence number of one of the United States.
    UsDriverLicense = "US_DRIVER_LICENSE",
    /// United States national provider identifier of a clinician.
    UsNpi = "US_NPI",
    /// United States Medicare beneficiary identifier.
    UsMbi = "US_MBI",
    /// Registration number of the Drug Enforcement Administration.
    MedicalLicense = "MEDICAL_LICENSE",

    /// United Kingdom National Health Service number.
    UkNhs = "UK_NHS",
    /// United Kingdom national insurance number.
    UkNino = "UK_NINO",
    /// United Kingdom unique taxpayer reference.
    UkUtr = "UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER",
    /// United Kingdom passport number.
    UkPassport = "UK_PASSPORT",
    /// United Kingdom driving licence number.
    UkDrivingLicence = "UK_DRIVING_LICENCE",
    /// Canadian social insurance number.
    CaSin = "CA_SOCIAL_INSURANCE_NUMBER",
    /// Canadian passport number.
    CaPassport = "CA_PASSPORT",
    /// Canadian provincial health number.
    CaHealthNumber = "CA_HEALTH_NUMBER",
    /// Australian business number.
    AuAbn = "AU_ABN",
    /// Australian company number.
    AuAcn = "AU_ACN",
    /// Australian tax file number.
    AuTfn = "AU_TFN",
    /// Australian Medicare card number.
    AuMedicare = "AU_MEDICARE",
    /// Australian passport number.
    AuPassport = "AU_PASSPORT",

    /// Indian Aadhaar number.
    InAadhaar = "IN_AADHAAR",
    /// Indian permanent account number.
    InPan = "IN_PAN",
    /// Indian voter's photo identity card number.
    InVoterNumber = "IN_VOTER_NUMBER",
    /// Indian passport number.
    InPassport = "IN_PASSPORT",
    /// Indian goods and services tax identification number.
    InGstin = "IN_GSTIN",
    /// Indian rural employment scheme (NREGA) job card number.
    InNrega = "IN_NREGA",
    /// Singapore national registration or foreign identification number.
    SgNricFin = "SG_NRIC_FIN",

    /// German tax identification number.
    DeTaxId = "DE_TAX_ID",
    /// German social insurance number.
    DeSocialSecurity = "DE_SOCIAL_SECURITY",
    /// German identity card number.
    DeIdCard = "DE_ID_CARD",
    /// German passport number.
    DePassport = "DE_PASSPORT",
    /// German value added tax number.
    DeVatId = "DE_VAT_ID",
    /// French social security number (NIR, issued by INSEE).
    FrInsee = "FR_INSEE",
    /// French national identity card number.
    FrIdCard = "FR_ID_CARD",
    /// French passport number.
    FrPassport = "FR_PASSPORT",
    /// Spanish tax identification number.
    EsNif = "ES_NIF",
    /// Spanish foreigner identification number.
    EsNie = "ES_NIE",
    /// Spanish passport number.
    EsPassport = "ES_PASSPORT",
    /// Italian fiscal code of a person.
    ItFiscalCode = "IT_FISCAL_CODE",
    /// Italian value added tax number.
    ItVatCode = "IT_VAT_CODE",
    /// Italian identity card number.
    ItIdentityCard = "IT_IDENTITY_CARD",
    /// Italian passport number.
    ItPassport = "IT_PASSPORT",
    /// Italian driver licence number.
    ItDriverLicense = "IT_DRIVER_LICENSE",
    /// Polish national identification number.
    PlPesel = "PL_PESEL",
    /// Finnish personal identity code.
    FiPersonalIdentityCode = "FI_PERSONAL_IDENTITY_CODE",

    /// Account name, where the text says that it is one.
    Username = "USERNAME",
    /// Password, where the text says that it is one.
    Password = "PASSWORD",
    /// AWS access key id.
    AwsAccessKey = "AWS_ACCESS_KEY",
    /// AWS secret access key.
    AwsSecretKey = "AWS_SECRET_KEY",
    /// Credential of an API: a known vendor's format, or a value that the text calls one.
    ApiKey = "API_KEY",
    /// PEM block that holds a private key.
    PrivateKey = "PRIVATE_KEY",
    /// RFC 7519 JSON web token.
    Jwt = "JWT",
    /// Address of a database or a broker with its password inside.
    ConnectionString = "CONNECTION_STRING",
}

/// Synonyms that callers may send: AWS Comprehend's names, and common short ones.
const SYNONYMS: &[(&str, Entity)] = &[
    ("NAME", Entity::Person),
    ("ADDRESS", Entity::Location),
    ("ORGANISATION", Entity::Organization),
    ("EMAIL", Entity::EmailAddress),
    ("PHONE", Entity::PhoneNumber),
    ("IP", Entity::IpAddress),
    ("MAC", Entity::MacAddress),
    ("DATE", Entity::DateTime),
    ("VIN", Entity::VehicleIdentificationNumber),
    ("CREDIT_DEBIT_NUMBER", Entity::CreditCard),
    ("CVV", Entity::CreditDebitCvv),
    ("IBAN", Entity::IbanCode),
    ("INTERNATIONAL_BANK_ACCOUNT_NUMBER", Entity::IbanCode),
    ("SWIFT", Entity::SwiftCode),
    ("BANK_ROUTING", Entity::AbaRoutingNumber),
    ("BANK_ACCOUNT_NUMBER", Entity::UsBankNumber),
    ("SSN", Entity::UsSsn),
    ("ITIN", Entity::UsItin),
    ("US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER", Entity::UsItin),
    ("PASSPORT", Entity::UsPassport),
    ("PASSPORT_NUMBER", Entity::UsPassport),
    ("US_PASSPORT_NUMBER", Entity::UsPassport),
    ("DRIVER_ID", Entity::UsDriverLicense),
    ("UK_NATIONAL_HEALTH_SERVICE_NUMBER", Entity::UkNhs),
    ("UK_NATIONAL_INSURANCE_NUMBER", Entity::UkNino),
    ("UK_UTR", Entity::UkUtr),
    ("CA_SIN", Entity::CaSin),
    ("IN_PERMANENT_ACCOUNT_NUMBER", Entity::InPan),
    ("IN_VOTER", Entity::InVoterNumber),
];

impl Entity {
    /// Finds an entity by wire name or synonym, whatever the case, with `-` and spaces read as `_`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Entity> {
        let wanted = canonical(name);
        names().find(|(known, _)| *known == wanted).map(|(_, entity)| entity)
    }

    /// Returns the valid name most similar to `name`, for error messages.
    #[must_use]
    pub fn nearest_name(name: &str) -> &'static str {
        let wanted = canonical(name);
        names()
            .map(|(known, _)| (strsim::normalized_damerau_levenshtein(&wanted, known), known))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or("EMAIL_ADDRESS", |(_, known)| known)
    }

    /// True if rules can find it; the others need a model.
    #[must_use]
    pub const fn has_rules(self) -> bool {
        !matches!(self, Entity::Person | Entity::Location | Entity::Organization)
    }

    /// Position in [`Entity::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// True for the bytes of a placeholder's name: a wire name, possibly with a number.
pub(crate) fn is_placeholder_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

fn names() -> impl Iterator<Item = (&'static str, Entity)> {
    Entity::ALL.iter().map(|e| (e.name(), *e)).chain(SYNONYMS.iter().copied())
}

/// Most characters of a name that are compared: more than any name has, so that a huge one costs little.
const MAX_NAME: usize = 64;

fn canonical(name: &str) -> String {
    name.trim()
        .chars()
        .take(MAX_NAME)
        .map(|c| if matches!(c, '-' | ' ') { '_' } else { c.to_ascii_uppercase() })
        .collect()
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Entity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
