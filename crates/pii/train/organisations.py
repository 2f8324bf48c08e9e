"""Organisations to write training texts about: known ones, and the ways in which others are called."""

from pytickersymbols import PyTickerSymbols

# After "the": they are mostly made of ordinary words, which only capitals and the words around tell apart.
BODIES = """House of Commons|House of Lords|House of Representatives|Senate|Parliament|Admiralty|War Office|Foreign Office|
State Department|Department of State|Department of {T}|Ministry of {T}|{K} Ministry of {T}|Office of {T}|Board of {T}|
Bureau of {T}|Federal {T} Agency|{T} Commission|{K} {T} Commission|{T} Authority|Committee on {T}|{T} Committee|
{C} {T} Committee|{T} Subcommittee|National {T} Agency|{K} National {T} Council|Institute of {T}|Royal Society of {T}|
{C} Society of {T}|{K} Academy of {T}|Faculty of {T}|College of {T}|School of {T}|Court of {T}|{C} Court of Appeal|
High Court|Supreme Court|District Court|European Court of {T}|International Court of Justice|{C} City Council|
{S} County Council|{C} Town Council|{C} Police|{C} Police Department|{K} Police|Metropolitan Police|{K} Army|{K} Navy|
{K} Air Force|Royal Navy|Royal Air Force|Marine Corps|Coast Guard|National Guard|{N} Regiment|{N} {R}|
{N} {C} {R}|{C} {R}|Royal {C} {R}|{N} Infantry|{N} Brigade|{N} Cavalry|{N} Battalion|Army of the {C}|{C} Militia|
{S} Club|{C} Club|{W} Club|Royal {W} Club|{C} {W} Society|{W} Society|{S} Foundation|{S} Trust|{S} Museum|{W} Museum|
{C} Museum of {T}|{S} Gallery|{S} Library|{C} Public Library|{S} Hotel|{C} Hotel|{W} Hotel|{W} Inn|{W} Arms|{S} Bar|
{W} Bar|{W} Tavern|{S} Theatre|{C} Opera|{W} Theatre|Church of {K}|{C} Cathedral School|{C} Bank|Bank of {C}|
{C} and {C} Railway|Great {W} Railway|{S} Line|{C} Steamship Company|{W} Insurance Company|{S} Trading Company|
Hudson's Bay Company|East India Company|{K} Company|{C} Gazette|{C} Times|{C} Post|{C} Chronicle|Daily {W}|
Evening {W}|{W} Review|{C} Herald|{W} Party|{K} {W} Party|Union of {W} Workers|{W} Workers Union|
International {W} Union|{W} Union|League of {W}|{K} Football Association|{C} Rovers|{C} {W}s|{W}s|Red Cross|
World {T} Organization|United Nations {T} Programme|European {T} Agency|{S} Orchestra|{C} Symphony|{S} Quartet|
University of {C}|University of {K}|{C} University|{S} University|{C} State University|{S} College|{S} Hall|
{S} School|{C} Academy|{S} Hospital|{C} Infirmary|{C} Hospital|{S} Clinic|{S} Center|{S} Institute|
Federal Reserve|Treasury|Home Office|Security Council|General Assembly|Congress|White House|Pentagon|Kremlin|
Continental Congress|Geological Survey|Patent Office|Post Office|Weather Service|Census Bureau|Stock Exchange|
{C} Stock Exchange|{W} Exchange|{A}|{A}|{A}|{A} of {K}""".replace("\n", "").split("|")
TOPICS = """Health|Finance|Education|Trade|Justice|Agriculture|Defence|Defense|Labour|Labor|Transport|Foreign Affairs|
Commerce|Energy|Science|Sciences|Medicine|Law|Arts|Engineering|Technology|Public Works|Human Rights|Appeals|
Economics|Immigration|Aviation|Fisheries|Customs|Statistics|the Interior|the Treasury|Ways and Means|Internal Revenue|
Natural History|Space|Food|Housing|Tourism|Culture|Sport|the Environment|Veterans Affairs|Securities|Election|
Nuclear|Water|Safety|Drug|Privacy|Telecommunications|Physicians|Surgeons|Music|Design""".replace("\n", "").split("|")
UNITS = """Regiment Fusiliers Rifles Infantry Volunteers Lancers Hussars Dragoons Guards Highlanders Battalion Division
Brigade Militia Grenadiers Artillery Cavalry""".split()
NUMBERS = """First Second Third Fourth Fifth Sixth Seventh Eighth Ninth Tenth Twelfth 1st 2nd 3rd 5th 9th 12th 20th 41st
54th 66th 82nd 101st""".split()
# What people call them in running text and in chats.
EVERYDAY = """Google|Facebook|Twitter|YouTube|MySpace|Yahoo|Bing|AOL|eBay|Amazon|Apple|Microsoft|Nokia|BlackBerry|Motorola|
HTC|Sprint|AT&T|Verizon|T-Mobile|Comcast|Skype|Flickr|Digg|Tumblr|Instagram|WhatsApp|TikTok|Snapchat|Pinterest|Twitch|
Netflix|Hulu|Spotify|Pandora|Starbucks|McDonald's|McDonalds|Burger King|KFC|Subway|Taco Bell|Wendy's|Chipotle|Pizza Hut|
Dunkin|Walmart|Wal-Mart|Target|Best Buy|Costco|Ikea|Home Depot|Gap|Zara|H&M|Sephora|Nike|Adidas|Sony|Nintendo|EA|
Activision|Ubisoft|Valve|Steam|Disney|Pixar|Marvel|HBO|ESPN|MTV|CNN|BBC|NBC|ABC|CBS|Fox News|PBS|NPR|Sky News|ITV|
Bloomberg|Reuters|NYT|WSJ|TechCrunch|Mashable|Wired|Gizmodo|Ryanair|EasyJet|Delta|JetBlue|Southwest|Uber|Lyft|FedEx|
UPS|DHL|Visa|PayPal|Square|Stripe|Tesla|BP|Shell|Exxon|Toyota|Ford|GM|Chevron|Boeing|Goldman Sachs|Goldman|Citi|Chase|
HSBC|Barclays|Lloyds|Tesco|Asda|Lidl|Aldi|Boots|Argos|Primark|Lloyd's|Harrods|Selfridges|Macy's|Sears|NASA|FBI|CIA|
NHS|IRS|TSA|FDA|NATO|UN|EU|WHO|IMF|UNICEF|GOP|NFL|NBA|FIFA|UFC|WWE|Arsenal|Chelsea|Liverpool|Man Utd|Barcelona|
Real Madrid|Juventus|Lakers|Celtics|Yankees|Red Sox|Cowboys|Patriots|Eagles|Giants|Harvard|Yale|Princeton|Oxford|
Cambridge|Stanford|MIT|UCLA|NYU|Berkeley|Caltech|Eton|Scotland Yard|Greenpeace|Oxfam|Interpol|Congress|Parliament|
the Senate|Labour|the Tories|the Democrats|the Republicans""".replace("\n", "").replace("|the ", "|").split("|")
COMMON = """Liberty Union Star Sun Eagle Lion Rose Crown Anchor Globe Mercury Phoenix Garden Yacht Athletic Cricket Rowing
Chess Literary Historical Medical Reform Liberal National People Green Socialist Republican Labor Western Northern
Imperial Grand Royal Central Mutual Provident Commercial Pacific Express Mail Mirror Standard Tribune Observer Dock
Teacher Miner Bricklayer Railway Steel Auto Tiger Bear Hawk Falcon Wolf Knight Pirate Ranger Dragon""".split()


def listed():
    """Companies of stock indices as they are called, with and without what they are in law."""
    for stock in PyTickerSymbols().get_all_stocks():
        name = stock["name"].strip()
        yield name
        short = name
        for tail in (" Inc.", " Inc", " Corp.", " Corp", " Corporation", " plc", " PLC", " AG", " SE", " N.V.", " S.A.", " Ltd.", " Ltd", " Group", " Company", " Co.", " Holdings", ","):
            short = short.removesuffix(tail)
        if len(short) > 2:
            yield short


def body(values, word):
    """One that "the" may stand before; `word` is an ordinary one."""
    word = word.capitalize() if values.chance(0.4) else values.pick(COMMON)
    letters = "".join(values.pick("ABCDEFGHIKLMNOPRSTUVW") for _ in range(values.pick([2, 3, 3, 3, 4])))
    return values.pick(BODIES).format(
        T=values.pick(TOPICS), K=values.country(), C=values.city(), S=values.names()[1], W=word, A=letters,
        N=values.pick(NUMBERS), R=values.pick(UNITS),
    )
