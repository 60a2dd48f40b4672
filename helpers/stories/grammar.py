"""Tell short stories from a small probabilistic grammar.

Embedded data: it needs no network, and a seed always tells the same stories,
so tests and CI are deterministic. Every choice has a known probability and
every text has one derivation, so the entropy of a story is known exactly:
no model can have a lower expected loss. Support module, built in no notebook.

GRAMMAR maps a symbol to its choices. A choice is a template, or a tuple
(weight, template), or (weight, template, attributes); a plain template weighs
1, and an only choice needs no list. A template has three kinds of slot:

    {trait}      a new text of the symbol `trait`
    {hero=girl}  a new text of the symbol `girl`, known from here on as `hero`
    {hero}       the same text again; {hero.they} is one of its attributes,
                 {hero.They} the same with a capital
"""

import re
from functools import cache
from math import log

import numpy as np

SHE = {"they": "she", "them": "her", "their": "her"}
HE = {"they": "he", "them": "him", "their": "his"}


def _words(text, attributes=None):
    """Return the choices in a list such as "3*red, 2*blue, green"."""
    pairs = [word.rpartition("*") for word in text.split(", ")]
    return [(int(n or 1), word, attributes or {}) for n, _, word in pairs]


GRAMMAR = {
    "story": "{opening} {plot}\n{ending}",
    "opening": [
        (4, "Once upon a time, there was a {trait} {child} who {likes}."),
        (3, "Once there was a {trait} {child}, and {hero.they} {likes}."),
        (3, "A {trait} {child} lived {home} and {likes}."),
    ],
    "plot": _words(
        "3*{stuck}, 3*{splash}, 3*{lost}, 2*{broken}, 2*{share}, 2*{night}, "
        "2*{seed}"
    ),
    "ending": [
        (4, "From that day on, {hero} and {friend} were best friends."),
        (3, "The next day, {hero} and {friend} {joy.did} together."),
        (2, "After that, {hero} and {friend} often {joy.did} together."),
        (1, "{hero} was happy to have a friend like {friend}."),
    ],
    # A toy is blown out of reach.
    "stuck": (
        "{when}, {hero.they} went to {outside} with {hero.their} {nice} "
        "{color=hue} {thing=light_toy}. {gust} the {thing} {perch=high}, and "
        '{reach}. "{oh} My {thing} is stuck {perch.at}!" cried {hero}.\n'
        "A {mood} {beast=climber} named {friend=pal} heard {hero.them} and "
        'said, "{offer}" {friend.They} {beast.rose} and brought the {color} '
        "{thing} down. {thanks} Then {hero.they} let {friend} "
        "{thing.use} it too."
    ),
    "gust": _words("2*A strong wind blew, Suddenly the wind took"),
    "reach": _words("2*{hero} could not reach it, it was too high for {hero}"),
    "offer": _words("2*I can help you., 2*Do not worry., Let me try."),
    # A toy falls into the water.
    "splash": (
        "{when}, {hero.they} was playing by {place=water} with a {nice} "
        "{color=hue} {thing=wet_toy}. {oops} The {thing} fell into the water "
        "and {thing.went}, and {hero} {cried}.\n"
        '"{why}" asked a {mood} {beast=swimmer} named {friend=pal}.\n"My '
        '{thing} is in {place}, and I cannot swim," said {hero}.\n"But I '
        'can!" said {friend}. {friend.They} {thing.after} and came back with '
        "the {color} {thing}. {thanks}"
    ),
    "oops": _words("3*Splash!, Oops!"),
    "cried": _words("2*began to cry, did not know what to do"),
    "why": _words("3*Why do you look so sad?, 2*What is wrong?"),
    # A small thing is lost.
    "lost": (
        "{when}, {hero.they} could not find the {nice} {color=hue} "
        "{thing=treasure} that {hero.their} {elder=parent} gave {hero.them}. "
        "{hero} looked {room}, but it was not there.\n"
        'A {mood} {beast=finder} named {friend=pal} asked, "{where}"\n'
        '"{yard}," said {hero}, and they ran there. {friend} {beast.sought} '
        "and found the {color} {thing} {hidden}! {thanks} Then {hero.they} "
        "ran home to tell {hero.their} {elder}."
    ),
    "where": _words("2*Where did you see it last?, Where did you play?"),
    # A toy breaks.
    "broken": (
        "{when}, {hero.they} {mishap} {hero.their} {nice} {color=hue} "
        '{thing=part_toy}, and {thing.one} came off. "{oh} My {thing} is '
        'broken!" cried {hero}.\n'
        "A {mood} {beast=builder} named {friend=pal} lived next door and "
        'heard {hero.them}. "We can fix it with some {glue=fixer}," said '
        "{friend}. {friend.They} held the {thing}, and {hero} {glue.did} the "
        "{thing.part} back on. {soon} the {color} {thing} was as good as "
        "new. {thanks}"
    ),
    "mishap": _words("3*dropped, 2*stepped on, sat on"),
    "soon": _words("2*Soon, Now"),
    # Someone has a cake, and someone is hungry.
    "share": (
        "{when}, {hero.their} {elder=parent} made {hero.them} a {size} "
        "{taste=flavor} {thing=treat}, and {hero.they} took it to "
        "{outside}.\n"
        "A {mood} {beast=eater} named {friend=pal} came by and asked, "
        '"{ask}"\n"No, it is all mine," said {hero}. The {beast} turned to '
        'go, and {hero} felt {bad}. "Wait, {sorry}!" called {hero}. They sat '
        "down {spot} and ate the {taste} {thing} together, and it was the "
        "best {thing} ever."
    ),
    "ask": _words("2*May I have some?, Can I have a little bit?"),
    "bad": _words("3*bad, 2*sorry, sad"),
    "sorry": _words("2*we can share it, there is enough for two"),
    "spot": _words("2*in the grass, under a tree, on a log"),
    # A strange sound comes from outside.
    "night": (
        "One {dark} night, {hero.they} was in bed under a {nice} {color=hue} "
        'blanket. "{call=voice}" went something outside. {hero} was scared, '
        'but {hero.their} {elder=parent} said, "{look}" They opened the '
        "{exit}, and there was a {size} {call.beast}!\n"
        '"I am {friend=pal}, and I am {need=want}," said the {call.beast}. '
        "So {hero} gave {friend.them} {need.gift}. Soon {friend} was not "
        "{need} anymore, and {hero} was not scared anymore."
    ),
    "look": _words("2*Let us go and see., We will look together."),
    # A seed does not grow at once.
    "seed": (
        "{when}, {hero.their} {elder=parent} gave {hero.them} a "
        "{thing=plant} seed. {hero} planted it {place=bed} and waited and "
        'waited, but nothing came up. "{grumble}," said {hero}.\n'
        "A {mood} {beast=grower} named {friend=pal} smiled and said, "
        '"A seed needs {care}." So {hero} gave it water every day, and '
        "{friend} {beast.helped}. {later}, there was a {grown} {thing} "
        "{place}! {hero} and {friend} {thing.used}."
    ),
    "grumble": _words("2*This seed is no good, It will never grow"),
    "care": _words("2*water and time, water and sun"),
    "later": _words("3*After many days, At the end of the summer"),
    # What several plots share.
    "when": _words(
        "4*One day, 2*One sunny morning, 2*One warm day, One afternoon, "
        "One bright morning, After lunch"
    ),
    "oh": _words("3*Oh no!, 2*Oh dear!, Help!"),
    "thanks": [
        (3, '"Thank you, {friend}!" said {hero}.'),
        (2, "{hero} gave {friend} a big hug."),
        (1, '"You are a very good {beast}," said {hero}.'),
    ],
    # Who.
    "trait": _words(
        "3*little, 2*kind, 2*happy, 2*brave, shy, clever, cheerful, quiet, "
        "gentle, playful"
    ),
    "child": [
        (4, "girl named {hero=girl}"),
        (4, "boy named {hero=boy}"),
        (2, "{cub} named {hero=cub_name}"),
    ],
    "girl": _words("Lily, Mia, Anna, Sue, Rosie, Emma, Nora, Ella, Lucy", SHE),
    "boy": _words("Tom, Ben, Sam, Max, Leo, Jack, Tim, Finn, Billy", HE),
    "cub": _words("bear, rabbit, mouse, kitten, puppy"),
    "cub_name": [
        *_words("Coco, Daisy, Molly", SHE),
        *_words("Bo, Teddy, Milo", HE),
    ],
    "pal": [
        *_words("Dot, Ruby, Poppy, Penny, Kiki", SHE),
        *_words("Pip, Gus, Rex, Bob, Ollie", HE),
    ],
    "parent": _words("3*mom, 2*dad, grandma, grandpa"),
    "mood": _words("3*friendly, 2*kind, 2*young, clever, funny, busy, wise"),
    "climber": [
        *_words("2*bird, crow", {"rose": "flew up"}),
        *_words("2*squirrel", {"rose": "ran up"}),
        *_words("monkey", {"rose": "climbed up"}),
    ],
    "swimmer": _words("2*duck, 2*frog, turtle, beaver, swan"),
    "finder": [
        *_words("2*dog, fox", {"sought": "sniffed the ground"}),
        *_words("hen, cat", {"sought": "looked all around"}),
    ],
    "builder": _words("beaver, goat, badger, mole"),
    "eater": _words("2*pig, goat, duck, hedgehog, pony"),
    "voice": [
        (3, "Hoo, hoo!", {"beast": "owl"}),
        (2, "Croak, croak!", {"beast": "frog"}),
        (2, "Meow, meow!", {"beast": "cat"}),
        (1, "Baa, baa!", {"beast": "sheep"}),
        (1, "Oink, oink!", {"beast": "pig"}),
    ],
    "grower": [
        (2, "bee", {"helped": "sang to it"}),
        (1, "mole", {"helped": "dug around it"}),
        (1, "hen", {"helped": "kept the bugs away"}),
    ],
    # What.
    "likes": _words("2*loved to {joy=hobby}, liked to {joy=hobby}"),
    "hobby": [
        (3, "play", {"did": "played"}),
        (2, "sing", {"did": "sang"}),
        (2, "dance", {"did": "danced"}),
        (1, "run", {"did": "ran"}),
        (1, "draw", {"did": "drew"}),
        (1, "tell jokes", {"did": "told jokes"}),
    ],
    "nice": _words("2*new, 2*little, 2*big, pretty"),
    "grown": _words("2*big, very big, beautiful"),
    "size": _words("2*big, small, beautiful"),
    "hue": _words("3*red, 3*blue, 2*green, 2*yellow, pink, white"),
    "light_toy": [
        (3, "kite", {"use": "fly"}),
        (2, "balloon", {"use": "hold"}),
        *_words("hat, scarf", {"use": "wear"}),
    ],
    "wet_toy": [
        (3, "boat", {"went": "floated away", "after": "swam after it"}),
        (2, "ball", {"went": "floated away", "after": "swam after it"}),
        (1, "truck", {"went": "sank", "after": "dived down"}),
        (1, "bucket", {"went": "sank", "after": "dived down"}),
    ],
    "treasure": _words("2*key, 2*ring, button, bell, shell, spoon"),
    "part_toy": [
        (2, "doll", {"one": "an arm", "part": "arm"}),
        (2, "toy car", {"one": "a wheel", "part": "wheel"}),
        (1, "toy horse", {"one": "a leg", "part": "leg"}),
        (1, "robot", {"one": "the head", "part": "head"}),
    ],
    "fixer": [
        (3, "glue", {"did": "stuck"}),
        (1, "tape", {"did": "taped"}),
        (1, "string", {"did": "tied"}),
    ],
    "flavor": _words("2*lemon, 2*cherry, honey, banana, carrot"),
    "treat": _words("3*cake, 2*pie, muffin, pancake"),
    "want": [
        (2, "cold", {"gift": "a warm coat"}),
        (2, "hungry", {"gift": "some bread"}),
        (1, "thirsty", {"gift": "a cup of milk"}),
        (1, "lonely", {"gift": "a big hug"}),
    ],
    "plant": [
        (2, "pumpkin", {"used": "made soup from it"}),
        (2, "sunflower", {"used": "sat under it every day"}),
        *_words("carrot, tomato, melon", {"used": "ate it for lunch"}),
    ],
    "dark": _words("3*dark, 2*cold, quiet, windy"),
    # Where.
    "home": _words(
        "3*in a small house, 2*near the woods, by the sea, on a farm"
    ),
    "outside": _words("3*the park, 2*the hill, the field, the woods"),
    "high": [
        (3, "into a tall tree", {"at": "in the tree"}),
        (1, "into an apple tree", {"at": "in the apple tree"}),
        (1, "onto a high branch", {"at": "on the branch"}),
    ],
    "water": _words("2*the river, 2*the pond, the lake"),
    "room": _words("2*under the bed, behind the door, in every box"),
    "yard": _words("3*In the garden, In the barn, At the park"),
    "hidden": _words("2*in a hole, 2*under a leaf, behind a bucket"),
    "exit": _words("2*door, window"),
    "bed": _words("3*in the garden, behind the house, by the gate"),
}


def tell_story(rng, grammar=GRAMMAR):
    """Tell one story with the numpy Generator `rng`."""
    return _expand("story", rng, {}, grammar)[0]


def tell_stories(n, seed=0, grammar=GRAMMAR):
    """Tell a list of `n` stories, the same for the same `seed`."""
    rng = np.random.default_rng(seed)
    return [tell_story(rng, grammar) for _ in range(n)]


def story_entropy(grammar=GRAMMAR, symbol="story"):
    """Return the exact entropy of a story, in nats.

    H(symbol) = sum over choices of p * (-log p + the H of its new slots);
    what a story repeats costs nothing. Exact if no text has two derivations.
    """
    entropy = 0.0
    for p, template, _ in _choices(symbol, grammar):
        new = [s for s in map(_symbol_of, _parts(template)) if s in grammar]
        entropy += p * (sum(story_entropy(grammar, s) for s in new) - log(p))
    return entropy


def tilted_count(strength, word, grammar=GRAMMAR, symbol="story"):
    """Weigh each story by exp(strength * how often it says a word), exactly.

    Returns log E[exp(strength * count)] and the mean count under the new
    weights. The word must stand whole in one template and in no text that
    is repeated. Of all ways to tell stories with that mean count, this one
    is the nearest: KL = strength * mean - log E, in nats.
    """
    found = re.compile(rf"\b{re.escape(word)}\b").findall
    scores, means = [], []
    for p, template, _ in _choices(symbol, grammar):
        new = [s for s in map(_symbol_of, _parts(template)) if s in grammar]
        inner = [tilted_count(strength, word, grammar, s) for s in new]
        count = len(found(re.sub(r"{.*?}", "{}", template)))
        logs = sum(log_z for log_z, _ in inner)
        scores.append(log(p) + strength * count + logs)
        means.append(count + sum(mean for _, mean in inner))
    log_z = float(np.logaddexp.reduce(scores))
    return log_z, float(np.exp(np.array(scores) - log_z) @ means)


def story_log_prob(text, grammar=GRAMMAR):
    """Return the log-probability of a text in nats, -inf if it is no story.

    The mean of `-story_log_prob` over some stories is the true grammar's
    loss on just these stories; its expected value is `story_entropy`.
    """
    return float(np.logaddexp.reduce(list(_derivations(text, grammar))))


def is_story(text, grammar=GRAMMAR):
    """Return whether the grammar can tell this text."""
    return any(True for _ in _derivations(text, grammar))


def _choices(symbol, grammar):
    """Return [(probability, template, attributes)] of a symbol."""
    choices = grammar[symbol]
    choices = [choices] if isinstance(choices, str) else choices
    choices = [(1, c) if isinstance(c, str) else c for c in choices]
    total = sum(weight for weight, *_ in choices)
    return [(w / total, t, a[0] if a else {}) for w, t, *a in choices]


@cache
def _parts(template):
    """Split a template into literal texts and slots; slots keep the braces."""
    return re.findall(r"{.*?}|[^{]+", template)


def _symbol_of(part):
    """Return what stands in a slot, after `=` if there is one, or None."""
    return part[1:-1].rpartition("=")[2] if part[0] == "{" else None


def _bind(slot, text, attributes, known):
    """Return `known` with what `{name=symbol}` adds, in a new dict."""
    name, equals, _ = slot[1:-1].partition("=")
    if not equals:
        return known
    new = {f"{name}.{key}": value for key, value in attributes.items()}
    return known | new | {name: text}


def _repeat(part, known):
    """Return the text of a literal or of a slot that draws nothing new."""
    if part[0] != "{":
        return part
    text = known[part[1:-1].lower()]
    capital = part.rpartition(".")[2][0].isupper()
    return text[0].upper() + text[1:] if capital else text


def _draw(choices, rng):
    """Draw one of [(probability, ...)]."""
    target = rng.random()
    for choice in choices:
        target -= choice[0]
        if target < 0:
            break
    return choice


def _expand(symbol, rng, known, grammar):
    """Draw a text of a symbol; return it, its attributes and `known`."""
    _, template, attributes = _draw(_choices(symbol, grammar), rng)
    drawn = ""
    for part in _parts(template):
        if (inner := _symbol_of(part)) in grammar:
            text, extra, known = _expand(inner, rng, known, grammar)
            known = _bind(part, text, extra, known)
        else:
            text = _repeat(part, known)
        drawn += text
    return drawn, attributes, known


def _derivations(text, grammar, parts=("{story}",), at=0, known=None):
    """Yield the log-probability of each way in which parts tell text[at:].

    An opened symbol leaves (slot, start, attributes) behind its own parts.
    """
    if not parts:
        yield from [0.0] if at == len(text) else []
        return
    known = known or {}
    part, *rest = parts
    if isinstance(part, tuple):
        slot, start, attributes = part
        known = _bind(slot, text[start:at], attributes, known)
        yield from _derivations(text, grammar, rest, at, known)
    elif (symbol := _symbol_of(part)) in grammar:
        for p, template, attributes in _choices(symbol, grammar):
            inner = [*_parts(template), (part, at, attributes), *rest]
            for log_prob in _derivations(text, grammar, inner, at, known):
                yield log(p) + log_prob
    elif text.startswith(word := _repeat(part, known), at):
        yield from _derivations(text, grammar, rest, at + len(word), known)
