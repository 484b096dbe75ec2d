"""English words that tell where a noun phrase begins and ends; every other word may be a noun."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPENERS = _words(
    """
    a an the this that these those each every either neither another any some all both no what which
    my your his her its our their whose
    """
)
"""Determiners and possessives: a phrase begins with them."""

STOPS = _words(
    """
    about above across after against along alongside amid among around as aside at atop away before
    behind below beneath beside besides between beyond by down during except for from in inside into
    like near next off on onto opposite out outside over past per round since through throughout to
    together toward towards under underneath until up upon via with within without of than
    and or but nor so yet if while because when where who whom whoever why how whether though
    i me you he him she it we us they them myself yourself himself herself itself ourselves
    themselves something someone somebody anything anyone nothing nobody everything everyone there
    here is are was were be been being am do does did has have had having can could will would shall
    should may might must not also just only then now again ago soon almost already always never
    often sometimes too well even still ever rather quite perhaps maybe later today outdoors indoors
    upside ahead forward backward
    sits sit sat stands stood holds hold held wears wear wore eats eat ate rides rode walks walked
    runs ran lies lay laid leans leaned looks looked plays played jumps jumped carries carry carried
    flies flew hangs hung rests poses posed rolls swims swam drives drove makes made takes took
    taken gets got goes went gone comes came gives gave given puts shows shown seen sees saw
    contains contain includes include surrounds features keeps kept lets says said seems appears
    waits talks smiles throws threw thrown catches caught kicks hits pulls pushes reads
    watches uses moves travels grazes sleeps drinks climbs
    """
)
"""Words that no phrase holds: those of grammar, and the verbs of captions that are no nouns too."""

MODIFIERS = _words(
    """
    red orange yellow green cyan blue purple pink brown black white gray grey golden beige tan
    silver violet turquoise maroon teal magenta dark light pale bright colorful colourful
    small large big little tiny huge giant tall short long wide narrow thick thin deep high low
    old young new modern ancient antique vintage fresh ripe raw hot cold warm cool wet dry clean
    dirty empty full open solid striped dotted plain round square rectangular flat curved sharp soft
    hard smooth rough fluffy furry hairy shiny wooden woolen plastic metallic beautiful pretty cute
    lovely nice good bad happy sad cheerful angry busy quiet calm sunny cloudy snowy rainy foggy
    grassy sandy rocky dusty muddy rusty broken bare single double several many few more most other
    various different same own first second third last main whole very such fat heavy delicious
    stainless female male adult human wild domestic
    zero one two three four five six seven eight nine ten eleven twelve twenty hundred thousand
    """
)
"""Adjectives, numbers and adverbs of degree: they stand before a noun and are none themselves."""

HEADS = _words("orange light square round plain cold adult human male female second tan")
"""Modifiers that are nouns when nothing follows them within a phrase."""

NOUNS_IN_ING = _words(
    """
    building ceiling clothing evening morning painting railing awning wedding bedding lightning
    string spring earring crossing drawing icing pudding stuffing dressing frosting lighting
    landing dumpling duckling gosling seasoning topping covering opening meeting stocking
    herring plumbing siding
    """
)
NOUNS_IN_ED = _words("moped seabed flatbed watershed bobsled dogsled hundred")
NOUNS_IN_LY = _words(
    "butterfly dragonfly firefly family belly jelly holly bully assembly supply doily"
)

PLACELESS = _words(
    """
    front back side sides top bottom middle center centre left right background foreground corner
    edge end part parts rest way distance direction
    photo photograph picture image view shot close-up closeup portrait illustration scene stock
    number couple group lot lots bunch pair set row kind type sort piece variety
    day night time year month week life love freedom fun work use look style
    """
)
"""Nouns that name a place in the picture, the picture, an amount or nothing that can be seen."""
