"""What learners write in lesson 05; test_mistakes.py says what a row is.

The usual mistakes are those that the causes know, made in the shelf's
source; the others are written anew, and so try the causes from outside.
"""

import inspect

import numpy as np

from helpers.checks.causes import tinystories as causes
from helpers.checks.gradients import check_value

ORDER = "    order = np.random.default_rng(seed).permutation(len(unique))\n"
OTHERS = {
    "count_words": [
        (
            "def count_words(text, special_tokens=(END_OF_TEXT,)):\n"
            "    words = {}\n"
            "    for piece in text.split(END_OF_TEXT):\n"
            "        for w in regex.findall(PATTERN, piece):\n"
            "            key = tuple(ord(c) for c in w)\n"
            "            words[key] = words.get(key, 0) + 1\n"
            "    return words",
            "not bytes",
        ),
        (
            "def count_words(text, special_tokens=(END_OF_TEXT,)):\n"
            "    words = {}\n"
            "    for piece in text.split(END_OF_TEXT):\n"
            "        for w in regex.findall(PATTERN, piece):\n"
            "            key = tuple(w.encode('utf-8'))\n"
            "            words[key] = words.get(key, 0) + 1\n"
            "    return words",
            "is cut at <|endoftext|>, whatever special_tokens are",
        ),
        (
            "def count_words(text, special_tokens=(END_OF_TEXT,)):\n"
            "    words = Counter(regex.findall(PATTERN, text))\n"
            "    return {tuple(w.encode()): n for w, n in words.items()}",
            "counts the special tokens as text",
        ),
        (
            "def count_words(text, special_tokens=(END_OF_TEXT,)):\n"
            "    for token in special_tokens:\n"
            "        text = text.replace(token, '')\n"
            "    words = Counter(regex.findall(PATTERN, text))\n"
            "    return {tuple(w.encode()): n for w, n in words.items()}",
            "glues together what a special token keeps apart",
        ),
        (
            "def count_words(text, special_tokens=(END_OF_TEXT,)):\n"
            "    words = Counter()\n"
            "    pattern = '|'.join(map(regex.escape, special_tokens))\n"
            "    for piece in regex.split(pattern, text):\n"
            "        words.update(regex.findall(PATTERN, piece))\n"
            "    return {tuple(w.encode()): n for w, n in words.items()}",
            "counts characters",
        ),
        ("    return {tuple", "    words = {tuple", "Is there a return?"),
        ('"utf-8"', '"ascii"', "-"),
        ('"utf-8"', '"latin-1"', "-"),
        ("words.update(", "words.add(", "-"),
    ],
    "count_pairs": [
        (
            "def count_pairs(words, counts):\n"
            "    pairs, where = Counter(), defaultdict(set)\n"
            "    for i, word in enumerate(words):\n"
            "        for a, b in zip(word, word[1:]):\n"
            "            pairs[a, b] += 1\n"
            "            where[a, b].add(i)\n"
            "    return pairs, where",
            "counts a pair once a word",
        ),
        (
            "def count_pairs(words, counts):\n"
            "    pairs, where = Counter(), defaultdict(list)\n"
            "    for i, word in enumerate(words):\n"
            "        for pair in zip(word, word[1:]):\n"
            "            pairs[pair] += counts[i]\n"
            "            where[pair].append(i)\n"
            "    return pairs, where",
            "has lists in where",
        ),
        (
            "def count_pairs(words, counts):\n"
            "    pairs, where = {}, {}\n"
            "    for i, word in enumerate(words):\n"
            "        for pair in zip(word, word[1:]):\n"
            "            pairs[pair] = pairs.get(pair, 0) + counts[i]\n"
            "            where.setdefault(pair, set()).add(i)\n"
            "    return pairs, where",
            "-",
        ),
        ("return pairs, where", "return pairs", "-"),
        ("return pairs, where", "return where, pairs", "-"),
        ("enumerate(zip(words, counts))", "zip(words, counts)", "-"),
        ("    return pairs, where", "    pairs, where", "Is there a return?"),
        (
            "zip(word, word[1:])",
            "[(word[i], word[i + 1]) for i in range(len(word))]",
            "-",
        ),
    ],
    "merge": [
        (
            "def merge(word, pair, new_id):\n"
            "    merged = []\n"
            "    for a, b in zip(word, word[1:]):\n"
            "        merged.append(new_id if (a, b) == pair else a)\n"
            "    return merged",
            "keeps the second id of the pair, and loses the last id",
        ),
        (
            "def merge(word, pair, new_id):\n"
            "    word = list(word)\n"
            "    for i in range(len(word) - 1, 0, -1):\n"
            "        if tuple(word[i - 1:i + 1]) == pair:\n"
            "            word[i - 1:i + 1] = [new_id]\n"
            "    return word",
            "merged from right to left",
        ),
        (
            "def merge(word, pair, new_id):\n"
            "    i = 0\n"
            "    while i + 1 < len(word):\n"
            "        if (word[i], word[i + 1]) == pair:\n"
            "            word[i : i + 2] = [new_id]\n"
            "        i += 1\n"
            "    return word",
            "-",
        ),
        (
            "def merge(word, pair, new_id):\n"
            "    return [new_id if i in pair else i for i in word]",
            "replaces each id of the pair, wherever it stands",
        ),
        ("i + 1 < len(word) and ", "", "-"),
        ("    return merged", "    merged", "Is there a return?"),
        (
            "            i += 2\n        else:\n            merged.append("
            "word[i])\n            i += 1\n",
            "        else:\n            merged.append(word[i])\n"
            "        i += 1\n",
            "the second id of the pair is used again",
        ),
        ("    return merged", "    return bytes(merged)", "-"),
        (
            "(word[i], word[i + 1]) == pair",
            "word[i : i + 2] == pair",
            "as it was",
        ),
    ],
    "merge_everywhere": [
        (
            "def merge_everywhere(pair, new_id, words, counts, pairs, "
            "where):\n"
            "    for i, word in enumerate(words):\n"
            "        words[i] = merge(word, pair, new_id)\n"
            "    new, places = count_pairs(words, counts)\n"
            "    changed = [p for p in new if new[p] != pairs[p]]\n"
            "    pairs.clear()\n"
            "    pairs.update(new)\n"
            "    where.clear()\n"
            "    where.update(places)\n"
            "    return changed",
            "looks at all words",
        ),
        (
            "def merge_everywhere(pair, new_id, words, counts, pairs, "
            "where):\n"
            "    changed = set()\n"
            "    for i, word in enumerate(words):\n"
            "        new = merge(word, pair, new_id)\n"
            "        if new == word:\n"
            "            continue\n"
            "        for p in zip(word, word[1:]):\n"
            "            pairs[p] -= counts[i]\n"
            "            changed.add(p)\n"
            "        for p in zip(new, new[1:]):\n"
            "            pairs[p] += counts[i]\n"
            "            where[p].add(i)\n"
            "            changed.add(p)\n"
            "        words[i] = new\n"
            "    return changed",
            "looks at all words",
        ),
        (
            "    return [other for other in changed if pairs[other] > 0]",
            "    [other for other in changed if pairs[other] > 0]",
            "returns no pair",
        ),
        ("merge(old, pair, new_id)", "merge(old, new_id, pair)", "-"),
        ("where.pop(pair)", "where.pop(pair)[:]", "-"),
        ("where.pop(pair)", "pairs.pop(pair)", "-"),
        (
            "def merge_everywhere(pair, new_id, words, counts, pairs, "
            "where):\n"
            "    changed = set()\n"
            "    for index in where.pop(pair):\n"
            "        words[index] = merge(words[index], pair, new_id)\n"
            "        for made in zip(words[index], words[index][1:]):\n"
            "            pairs[made] += counts[index]\n"
            "            where[made].add(index)\n"
            "            changed.add(made)\n"
            "    return changed",
            "keeps the old pairs counted",
        ),
        ("pairs[gone] -= counts[index]", "pairs[gone] -= counts[0]", "-"),
    ],
    "most_frequent": [
        (
            "def most_frequent(heap, pairs):\n"
            "    return max(pairs, key=pairs.get)",
            "comes again",
        ),
        (
            "def most_frequent(heap, pairs):\n"
            "    count, pair = heapq.heappop(heap)\n"
            "    while -count != pairs[pair]:\n"
            "        count, pair = heapq.heappop(heap)\n"
            "    return pair",
            "-",
        ),
        (
            "def most_frequent(heap, pairs):\n"
            "    while heap:\n"
            "        count, pair = heapq.heappop(heap)\n"
            "        if pairs[pair] == -count:\n"
            "            return pair",
            "fallen to 0",
        ),
        (
            "def most_frequent(heap, pairs):\n"
            "    if heap:\n"
            "        return heapq.heappop(heap)[1]",
            "out of date",
        ),
        ("            return pair\n", "            pair\n", "-"),
        ("-negative_count ==", "negative_count ==", "-"),
        ("return pair\n", "return pair, pairs[pair]\n", "-"),
        ("heapq.heappop(heap)", "heapq.nsmallest(1, heap)[0]", "comes again"),
        ("heapq.heappop(heap)", "heap[0]", "comes again"),
    ],
    "train_bpe": [
        (
            "    return {token: i for i, token in enumerate(tokens)}",
            "    return {i: token for i, token in enumerate(tokens)}",
            "-",
        ),
        (
            "    return {token: i for i, token in enumerate(tokens)}",
            "    return tokens",
            "-",
        ),
        ("        if pair is None:\n            break\n", "", "-"),
        ("merge_everywhere(pair, new_id,", "merge_everywhere(pair, 256,", "-"),
        ("[(-count, pair) for", "[(-1, pair) for", "-"),
        (
            "changed:\n            heapq.heappush(heap, (-pairs[other], "
            "other))",
            "changed[:1]:\n            heapq.heappush(heap, (-pairs[other], "
            "other))",
            "never hears of new counts",
        ),
        (
            "def train_bpe(text, vocab_size, special_tokens=()):\n"
            "    words = [list(w) for w in count_words(text, "
            "special_tokens)]\n"
            "    tokens = [bytes([i]) for i in range(256)]\n"
            "    while len(tokens) < vocab_size - len(special_tokens):\n"
            "        pairs, _ = count_pairs(words, [1] * len(words))\n"
            "        a, b = max(pairs, key=pairs.get)\n"
            "        words = [merge(w, (a, b), len(tokens)) for w in words]\n"
            "        tokens.append(tokens[a] + tokens[b])\n"
            "    return {token: i for i, token in enumerate(tokens)}",
            "-",
        ),
    ],
    "encode_word": [
        (
            "def encode_word(word, ranks):\n"
            "    ids = []\n"
            "    while word:\n"
            "        for n in range(len(word), 0, -1):\n"
            "            if word[:n] in ranks:\n"
            "                ids.append(ranks[word[:n]])\n"
            "                word = word[n:]\n"
            "                break\n"
            "    return ids",
            "the longest piece or the first",
        ),
        (
            "def encode_word(word, ranks):\n"
            "    parts = [bytes([b]) for b in word]\n"
            "    i = 0\n"
            "    while i + 1 < len(parts):\n"
            "        if parts[i] + parts[i + 1] in ranks:\n"
            "            parts[i : i + 2] = [parts[i] + parts[i + 1]]\n"
            "            i = 0\n"
            "        else:\n"
            "            i += 1\n"
            "    return [ranks[part] for part in parts]",
            "the longest piece or the first",
        ),
        (
            "def encode_word(word, ranks):\n"
            "    return [ranks[bytes([b])] for b in word]",
            "no merge at all",
        ),
        (
            "def encode_word(word, ranks):\n"
            "    parts = [bytes([b]) for b in word]\n"
            "    for best in ranks:\n"
            "        for i in range(len(parts) - 1, 0, -1):\n"
            "            if b''.join(parts[i - 1:i + 1]) == best:\n"
            "                parts[i - 1:i + 1] = [best]\n"
            "    return [ranks[part] for part in parts]",
            "not the one learned first",
        ),
        ("        if best not in ranks:\n            break\n", "", "-"),
        ("ranks.get(part, len(ranks))", "ranks[part]", "-"),
        ("[bytes([b]) for b in word]", "list(word)", "-"),
        ("    return [ranks", "    [ranks", "Is there a return?"),
        (
            "min(joined, key=lambda part: ranks.get(part, len(ranks)))",
            (
                "max(joined, key=lambda part: len(part) if part in ranks "
                "else 0)"
            ),
            "takes the longest piece or the first, not",
        ),
        (
            (
                "def encode_word(word, ranks):\n"
                "    ids, i = [], 0\n"
                "    while i < len(word):\n"
                "        for end in range(len(word), i, -1):\n"
                "            if word[i:end] in ranks:\n"
                "                ids.append(ranks[word[i:end]])\n"
                "                i = end\n"
                "                break\n"
                "    return ids\n"
            ),
            "takes the longest piece or the first, not",
        ),
    ],
    "split_stories": [
        (
            "def split_stories(stories, valid_fraction=0.1, seed=0):\n"
            "    rng = np.random.default_rng(seed)\n"
            "    order = rng.permutation(len(stories))\n"
            "    n = round(len(stories) * valid_fraction)\n"
            "    shuffled = [stories[i] for i in order]\n"
            "    return shuffled[n:], shuffled[:n]",
            "told before",
        ),
        (
            "def split_stories(stories, valid_fraction=0.1, seed=0):\n"
            "    unique = list(set(stories))\n"
            "    rng = np.random.default_rng(seed)\n"
            "    order = rng.permutation(len(unique))\n"
            "    n = round(len(unique) * valid_fraction)\n"
            "    return [unique[i] for i in order[n:]], [\n"
            "        unique[i] for i in order[:n]\n"
            "    ]",
            "-",
        ),
        ("@checked\n", "", "-"),
        ("np.random.default_rng(seed)", "np.random.default_rng()", "-"),
        ("list(dict.fromkeys(stories))", "dict.fromkeys(stories)", "-"),
        (
            ORDER,
            "    order = np.argsort(np.random.default_rng(seed).random("
            "len(unique)))\n",
            "-",
        ),
        ("round(len(unique) * valid_fraction)", "valid_fraction", "-"),
    ],
    "tokenize_stories": [
        (
            "def tokenize_stories(stories, tokenizer, path=None):\n"
            "    ids = [tokenizer.end_of_text]\n"
            "    for story in stories:\n"
            "        ids += tokenizer.encode(story)\n"
            "    return np.array(ids, np.uint16)",
            "lacks the separators after the stories",
        ),
        (
            "def tokenize_stories(stories, tokenizer, path=None):\n"
            "    ids = []\n"
            "    for story in stories:\n"
            "        ids += tokenizer.encode(story) + "
            "[tokenizer.end_of_text]\n"
            "    return np.array(ids, np.uint16)",
            "lacks the separator before the first",
        ),
        ("@checked\n", "", "OverflowError"),
        (
            "encode(story), np.uint16)",
            "encode(story))",
            "int64",
        ),
        ("np.concatenate(pieces)", "np.array(pieces)", "-"),
        ("    files.write_tokens(path, tokens)\n", "", "-"),
        (
            "    files.write_tokens(path, tokens)\n",
            "    files.write_tokens(path, tokens[:-1])\n",
            "lacks the separator after the last story",
        ),
        (
            'np.load(path, mmap_mode="r", allow_pickle=False)',
            "np.load(path)",
            "is not memory-mapped",
        ),
    ],
    "sample_batch": [
        (
            "def sample_batch(tokens, B, T, rng, starts=None):\n"
            "    places = rng.integers(0, len(tokens) - T, size=B)\n"
            "    ids = np.stack([tokens[s : s + T] for s in places])\n"
            "    targets = np.stack([tokens[s + 1 : s + T + 1] for s in "
            "places])\n"
            "    return ids.astype(np.int64), targets.astype(np.int64)",
            "starts ignored",
        ),
        (
            "def sample_batch(tokens, B, T, rng, starts=None):\n"
            "    places = rng.integers(0, len(tokens) - T, B)\n"
            "    if starts is not None:\n"
            "        places = rng.choice(starts, B)\n"
            "    ids = np.stack([tokens[s : s + T] for s in places])\n"
            "    targets = np.stack([tokens[s + 1 : s + T + 1] for s in "
            "places])\n"
            "    return ids, targets",
            "uint16 as the tokens are",
        ),
        (
            "def sample_batch(tokens, B, T, rng, starts=None):\n"
            "    places = rng.integers(0, len(tokens) - T, B)\n"
            "    ids = np.stack([tokens[s : s + T] for s in places])\n"
            "    return ids.astype(int), ids.astype(int)",
            "the ids themselves",
        ),
        (
            "rng.integers(0, len(tokens) - T, size=B)",
            "np.random.default_rng().integers(0, len(tokens) - T, B)",
            "does not draw from rng",
        ),
        ("len(tokens) - T, size=B", "len(tokens), size=B", "-"),
        ("len(tokens) - T, size=B", "len(tokens) - T + 1, size=B", "-"),
        ("@checked\n", "", "Python says, later"),
        ("np.stack(", "np.concatenate(", "-"),
        ("return windows[:, :-1], ", "return ", "fewer or more things"),
        (
            "    windows = windows.astype(np.int64)  # (B, T + 1)\n",
            "",
            "is uint16 as the tokens are",
        ),
    ],
}
WRONG = {
    name: [*getattr(causes, name.upper()), *rows]
    for name, rows in OTHERS.items()
}

RIGHT = {
    "count_words": [
        "def count_words(text, special_tokens=(END_OF_TEXT,)):\n"
        "    pieces = [text]\n"
        "    for token in special_tokens:\n"
        "        pieces = [p for piece in pieces for p in "
        "piece.split(token)]\n"
        "    words = {}\n"
        "    for piece in pieces:\n"
        "        for found in regex.finditer(PATTERN, piece):\n"
        "            key = tuple(found[0].encode())\n"
        "            words[key] = words.get(key, 0) + 1\n"
        "    return words",
        "def count_words(text, special_tokens=(END_OF_TEXT,)):\n"
        "    words = Counter()\n"
        "    pattern = '|'.join(regex.escape(t) for t in special_tokens)\n"
        "    pieces = regex.split(pattern, text) if pattern else [text]\n"
        "    for piece in pieces:\n"
        "        for w in regex.findall(PATTERN, piece):\n"
        "            words[tuple(w.encode('utf-8'))] += 1\n"
        "    return words",
        "def count_words(text, special_tokens=(END_OF_TEXT,)):\n"
        "    pieces = [text]\n"
        "    if len(special_tokens) > 0:\n"
        "        pieces = regex.split(\n"
        "            '|'.join([regex.escape(s) for s in special_tokens]), "
        "text)\n"
        "    found = sum((regex.findall(PATTERN, p) for p in pieces), [])\n"
        "    encoded = [tuple(bytes(w, 'utf-8')) for w in found]\n"
        "    return {w: encoded.count(w) for w in encoded}",
    ],
    "count_pairs": [
        "def count_pairs(words, counts):\n"
        "    pairs, where = defaultdict(int), defaultdict(set)\n"
        "    for i in range(len(words)):\n"
        "        for j in range(len(words[i]) - 1):\n"
        "            pair = words[i][j], words[i][j + 1]\n"
        "            pairs[pair] += counts[i]\n"
        "            where[pair].add(i)\n"
        "    return pairs, where",
        "def count_pairs(words, counts):\n"
        "    pairs, where = Counter(), defaultdict(set)\n"
        "    for i, word in enumerate(words):\n"
        "        for pair, n in Counter(zip(word, word[1:])).items():\n"
        "            pairs[pair] += n * counts[i]\n"
        "            where[pair] |= {i}\n"
        "    return pairs, where",
        "def count_pairs(words, counts):\n"
        "    found = [(i, p) for i, w in enumerate(words)\n"
        "             for p in zip(w[:-1], w[1:])]\n"
        "    pairs, where = Counter(), defaultdict(set)\n"
        "    for i, p in found:\n"
        "        pairs.update({p: counts[i]})\n"
        "        where[p].add(i)\n"
        "    return (pairs, where)",
    ],
    "merge": [
        "def merge(word, pair, new_id):\n"
        "    out = []\n"
        "    for i in word:\n"
        "        if out and (out[-1], i) == pair:\n"
        "            out[-1] = new_id\n"
        "        else:\n"
        "            out.append(i)\n"
        "    return out",
        "def merge(word, pair, new_id):\n"
        "    word, i = list(word), 0\n"
        "    while i < len(word) - 1:\n"
        "        if word[i : i + 2] == list(pair):\n"
        "            word[i : i + 2] = [new_id]\n"
        "        i += 1\n"
        "    return word",
        "def merge(word, pair, new_id):\n"
        "    if len(word) < 2:\n"
        "        return list(word)\n"
        "    if tuple(word[:2]) == pair:\n"
        "        return [new_id, *merge(word[2:], pair, new_id)]\n"
        "    return [word[0], *merge(word[1:], pair, new_id)]",
    ],
    "merge_everywhere": [
        "def merge_everywhere(pair, new_id, words, counts, pairs, where):\n"
        "    changed = []\n"
        "    for i in list(where[pair]):\n"
        "        for p in zip(words[i], words[i][1:]):\n"
        "            pairs[p] -= counts[i]\n"
        "            where[p].discard(i)\n"
        "            changed.append(p)\n"
        "        words[i] = merge(words[i], pair, new_id)\n"
        "        for p in zip(words[i], words[i][1:]):\n"
        "            pairs[p] += counts[i]\n"
        "            where[p].add(i)\n"
        "            changed.append(p)\n"
        "    return changed",
        "def merge_everywhere(pair, new_id, words, counts, pairs, where):\n"
        "    before = {}\n"
        "    for i in sorted(where[pair]):\n"
        "        old, words[i] = words[i], merge(words[i], pair, new_id)\n"
        "        delta = Counter(zip(words[i], words[i][1:]))\n"
        "        delta.subtract(Counter(zip(old, old[1:])))\n"
        "        for p, n in delta.items():\n"
        "            before.setdefault(p, pairs[p])\n"
        "            pairs[p] += n * counts[i]\n"
        "            where[p].add(i)\n"
        "    return {p for p, n in before.items() if pairs[p] != n}",
        "def merge_everywhere(pair, new_id, words, counts, pairs, where):\n"
        "    changed = set()\n"
        "    for i in where.pop(pair):\n"
        "        old = words[i]\n"
        "        words[i] = new = merge(old, pair, new_id)\n"
        "        for sign, word in ((-1, old), (1, new)):\n"
        "            for p in zip(word, word[1:]):\n"
        "                pairs[p] += sign * counts[i]\n"
        "                where[p].add(i)\n"
        "                changed.add(p)\n"
        "    pairs.pop(pair, None)\n"
        "    return list(changed)",
    ],
    "most_frequent": [
        "def most_frequent(heap, pairs):\n"
        "    while True:\n"
        "        if len(heap) == 0:\n"
        "            return None\n"
        "        count, pair = heapq.heappop(heap)\n"
        "        if count < 0 and pairs[pair] + count == 0:\n"
        "            return pair",
        "def most_frequent(heap, pairs):\n"
        "    try:\n"
        "        n, pair = heapq.heappop(heap)\n"
        "        while n == 0 or pairs.get(pair, 0) != -n:\n"
        "            n, pair = heapq.heappop(heap)\n"
        "    except IndexError:\n"
        "        return None\n"
        "    return pair",
        "def most_frequent(heap, pairs):\n"
        "    if not heap:\n"
        "        return None\n"
        "    n, pair = heapq.heappop(heap)\n"
        "    good = n != 0 and pairs[pair] == -n\n"
        "    return pair if good else most_frequent(heap, pairs)",
    ],
    "train_bpe": [
        "@checked\n"
        "def train_bpe(text, vocab_size, special_tokens=(END_OF_TEXT,)):\n"
        "    counted = count_words(text, special_tokens)\n"
        "    words, counts = list(map(list, counted)), "
        "list(counted.values())\n"
        "    ranks = {bytes([i]): i for i in range(256)}\n"
        "    tokens = list(ranks)\n"
        "    while len(ranks) < vocab_size - len(special_tokens):\n"
        "        pairs, _ = count_pairs(words, counts)\n"
        "        if not pairs:\n"
        "            break\n"
        "        a, b = min(pairs, key=lambda p: (-pairs[p], p))\n"
        "        words = [merge(w, (a, b), len(tokens)) for w in words]\n"
        "        tokens.append(tokens[a] + tokens[b])\n"
        "        ranks[tokens[-1]] = len(ranks)\n"
        "    return ranks",
        (
            "        if pair is None:\n            break\n",
            "        if not pair:\n            return dict(\n"
            "                zip(tokens, range(len(tokens)))\n            )\n",
        ),
        (
            "    heap = [(-count, pair) for pair, count in pairs.items()]\n"
            "    heapq.heapify(heap)\n",
            "    heap = []\n"
            "    for pair in pairs:\n"
            "        heapq.heappush(heap, (-pairs[pair], pair))\n",
        ),
    ],
    "encode_word": [
        "def encode_word(word, ranks):\n"
        "    parts = [word[i : i + 1] for i in range(len(word))]\n"
        "    while True:\n"
        "        found = [\n"
        "            (ranks[a + b], i)\n"
        "            for i, (a, b) in enumerate(zip(parts, parts[1:]))\n"
        "            if a + b in ranks\n"
        "        ]\n"
        "        if not found:\n"
        "            return [ranks[p] for p in parts]\n"
        "        _, i = min(found)\n"
        "        parts = [*parts[:i], parts[i] + parts[i + 1], *parts[i + 2 "
        ":]]",
        "def encode_word(word, ranks):\n"
        "    parts = [bytes((b,)) for b in word]\n"
        "    for token in sorted(ranks, key=ranks.get):\n"
        "        if len(token) == 1:\n"
        "            continue\n"
        "        i = 0\n"
        "        while i + 1 < len(parts):\n"
        "            if parts[i] + parts[i + 1] == token:\n"
        "                parts[i : i + 2] = [token]\n"
        "            i += 1\n"
        "    return [ranks[p] for p in parts]",
        (
            "        best = min(joined, key=lambda part: ranks.get(part, "
            "len(ranks)))\n",
            "        order = [ranks.get(p, float('inf')) for p in joined]\n"
            "        best = joined[int(np.argmin(order))]\n",
        ),
    ],
    "split_stories": [
        "@checked\n"
        "def split_stories(stories, valid_fraction=0.1, seed=0):\n"
        "    seen, unique = set(), []\n"
        "    for story in stories:\n"
        "        if story not in seen:\n"
        "            unique.append(story)\n"
        "        seen.add(story)\n"
        "    rng = np.random.default_rng(seed)\n"
        "    order = rng.permutation(len(unique))\n"
        "    n = round(valid_fraction * len(unique))\n"
        "    valid, train = order[:n], order[n:]\n"
        "    return [unique[i] for i in train], [unique[i] for i in valid]",
        (
            "    shuffled = [unique[i] for i in order]\n",
            "    shuffled = np.array(unique, object)[order].tolist()\n",
        ),
        (
            ORDER,
            "    order = np.arange(len(unique))\n"
            "    np.random.default_rng(seed).shuffle(order)\n",
        ),
    ],
    "tokenize_stories": [
        "@checked\n"
        "def tokenize_stories(stories, tokenizer, path=None):\n"
        "    ids = [tokenizer.end_of_text]\n"
        "    for story in stories:\n"
        "        ids.extend(tokenizer.encode(story))\n"
        "        ids.append(tokenizer.end_of_text)\n"
        "    tokens = np.array(ids, dtype=np.uint16)\n"
        "    if path is not None:\n"
        "        files.write_tokens(path, tokens)\n"
        "        return np.load(path, mmap_mode='r')\n"
        "    return tokens",
        (
            "    end = np.array([tokenizer.end_of_text], np.uint16)\n"
            "    pieces = [end]\n"
            "    for story in stories:\n"
            "        pieces += [np.array(tokenizer.encode(story), "
            "np.uint16), end]\n"
            "    tokens = np.concatenate(pieces)\n",
            "    end = [tokenizer.end_of_text]\n"
            "    pieces = [end]\n"
            "    for ids in tokenizer.encode_batch(stories):\n"
            "        pieces += [ids, end]\n"
            "    tokens = np.concatenate(pieces).astype(np.uint16)\n",
        ),
        (
            "    files.write_tokens(path, tokens)\n",
            "    np.save(path, tokens)\n",
        ),
    ],
    "sample_batch": [
        "@checked\n"
        "def sample_batch(tokens, B, T, rng, starts=None):\n"
        "    if starts is None:\n"
        "        starts = np.arange(len(tokens) - T)\n"
        "    places = starts[rng.integers(len(starts), size=B)]\n"
        "    at = places[:, None] + np.arange(T)\n"
        "    tokens = np.asarray(tokens, np.int64)\n"
        "    return tokens[at], tokens[at + 1]",
        "@checked\n"
        "def sample_batch(tokens, B, T, rng, starts=None):\n"
        "    ids = np.zeros((B, T), dtype=np.int64)\n"
        "    targets = np.zeros((B, T), dtype=np.int64)\n"
        "    for b in range(B):\n"
        "        if starts is None:\n"
        "            s = rng.integers(0, len(tokens) - T)\n"
        "        else:\n"
        "            s = rng.choice(starts)\n"
        "        ids[b] = tokens[s : s + T]\n"
        "        targets[b] = tokens[s + 1 : s + 1 + T]\n"
        "    return ids, targets",
        (
            "    windows = np.stack([tokens[s : s + T + 1] for s in "
            "places])\n",
            "    views = np.lib.stride_tricks.sliding_window_view\n"
            "    windows = views(tokens, T + 1)[places]\n",
        ),
    ],
}

SOLUTIONS = {
    "merge_everywhere": inspect.getsource(causes.merge_plainly)
    .replace("merge_plainly", "merge_everywhere")
    .replace("right.merge", "merge"),
    "bytes_per_token": """\
def bytes_per_token(texts, encode):
    n_bytes = sum(len(text.encode("utf-8")) for text in texts)
    return n_bytes / sum(len(encode(text)) for text in texts)
""",
    "story_mask": """\
def story_mask(ids, end):
    story = np.cumsum(ids == end)
    causal = np.tri(len(ids), dtype=bool)
    return causal & (story[:, None] == story[None, :])
""",
    "bigram_loss": """\
def bigram_loss(train, valid, V):
    counts = np.full((V, V), 0.1)
    np.add.at(counts, (train[:-1], train[1:]), 1)
    probs = counts / counts.sum(axis=1, keepdims=True)
    return -np.log(probs[valid[:-1], valid[1:]]).mean()
""",
}


def judge_bytes_per_token(function):
    check_value(function, 22 / 15, ["naïve café", "猫", "🙂 :)"], list)


def judge_story_mask(function):
    window = np.array([5, 7, 9, 0, 5, 5, 6, 0, 8])
    expected = np.zeros((9, 9), dtype=bool)
    for first, end in ((0, 3), (3, 7), (7, 9)):
        expected[first:end, first:end] = np.tri(end - first)
    check_value(function, expected, window, 0)


def judge_bigram_loss(function):
    seen, later = np.array([0, 1, 0, 1, 0, 2]), np.array([0, 1, 2, 0])
    p = [2.1 / 3.3, 0.1 / 2.3, 0.1 / 0.3]
    check_value(function, -np.log(p).mean(), seen, later, 3)


JUDGES = {
    "bytes_per_token": judge_bytes_per_token,
    "story_mask": judge_story_mask,
    "bigram_loss": judge_bigram_loss,
}
WRONG |= {
    "bytes_per_token": [
        (
            'len(text.encode("utf-8"))',
            "len(text)",
            "counts letters where bytes are wanted, or",
        ),
        (
            "return n_bytes / sum(",
            "return n_bytes // sum(",
            "counts letters where bytes are wanted, or",
        ),
        (
            "return n_bytes / ",
            "return 1 / n_bytes * ",
            "is tokens a byte, the other way round",
        ),
        (
            "def bytes_per_token(texts, encode):\n"
            "    each = [len(t.encode()) / len(encode(t)) for t in texts]\n"
            "    return sum(each) / len(each)",
            "is the mean of the ratios of the texts",
        ),
        (
            "for text in texts)\n    return",
            "for text in texts[:1])\n    return",
            "-",
        ),
        ("    return n_bytes", "    n_bytes", "Is there a return?"),
    ],
    "story_mask": [
        ("causal & ", "", "is not causal"),
        (" & (story[:, None] == story[None, :])", "", "is causal alone"),
        (
            "ids == end)",
            "ids == end) - (ids == end)",
            "gives a separator to the story that it ends",
        ),
        (
            "story[:, None] == story[None, :]",
            "story[:, None] >= story",
            "is causal alone",
        ),
        ("causal & (story", "causal.T & (story", "is turned round"),
        ("causal & (story", "causal * 1.0 * (story", "-"),
        ("    return causal", "    causal", "Is there a return?"),
    ],
    "bigram_loss": [
        (
            "    np.add.at(counts, (train[:-1], train[1:]), 1)\n",
            "    counts[train[:-1], train[1:]] += 1\n",
            "counts a pair once",
        ),
        ("axis=1", "axis=0", "has columns that sum to 1"),
        (
            "(train[:-1], train[1:])",
            "(train[1:], train[:-1])",
            "has the token after in the rows",
        ),
        ("0.1", "1.0", "adds 1 to each count"),
        ("return -np.log", "return np.log", "lacks the minus"),
        (".mean()", ".sum()", "is the sum over the targets"),
        ("np.log(", "np.log2(", "is in bits"),
    ],
}
RIGHT |= {
    "bytes_per_token": [
        "def bytes_per_token(texts, encode):\n"
        "    n_bytes = n_ids = 0\n"
        "    for text in texts:\n"
        "        n_bytes += len(bytes(text, 'utf-8'))\n"
        "        n_ids += len(encode(text))\n"
        "    return n_bytes / n_ids",
        "def bytes_per_token(texts, encode):\n"
        "    n = np.array([[len(t.encode()), len(encode(t))] for t in "
        "texts])\n"
        "    return np.divide(*n.sum(axis=0))",
        "def bytes_per_token(texts, encode):\n"
        "    text = ''.join(texts)\n"
        "    return len(text.encode()) / sum(map(len, map(encode, texts)))",
    ],
    "story_mask": [
        "def story_mask(ids, end):\n"
        "    T = len(ids)\n"
        "    mask = np.zeros((T, T), bool)\n"
        "    for t in range(T):\n"
        "        for s in range(t, -1, -1):\n"
        "            mask[t, s] = True\n"
        "            if ids[s] == end:\n"
        "                break\n"
        "    return mask",
        "def story_mask(ids, end):\n"
        "    story = (ids == end).cumsum()\n"
        "    return np.tril(np.equal.outer(story, story))",
        "def story_mask(ids, end):\n"
        "    places = np.arange(len(ids))\n"
        "    first = np.maximum.accumulate(np.where(ids == end, places, 0))\n"
        "    return (places <= places[:, None]) & (places >= first[:, None])",
    ],
    "bigram_loss": [
        "def bigram_loss(train, valid, V):\n"
        "    counts = np.zeros((V, V))\n"
        "    for a, b in zip(train, train[1:]):\n"
        "        counts[a, b] += 1\n"
        "    counts += 0.1\n"
        "    loss = 0.0\n"
        "    for a, b in zip(valid, valid[1:]):\n"
        "        loss -= np.log(counts[a, b] / counts[a].sum())\n"
        "    return loss / (len(valid) - 1)",
        "def bigram_loss(train, valid, V):\n"
        "    flat = np.bincount(train[:-1] * V + train[1:], minlength=V * V)\n"
        "    counts = flat.reshape(V, V) + 0.1\n"
        "    logs = np.log(counts) - np.log(counts.sum(1, keepdims=True))\n"
        "    return -np.mean(logs[valid[:-1], valid[1:]])",
        "def bigram_loss(train, valid, V):\n"
        "    counts = np.full((V, V), 0.1)\n"
        "    np.add.at(counts, (train[:-1], train[1:]), 1)\n"
        "    rows = counts[valid[:-1]]\n"
        "    p = rows[np.arange(len(rows)), valid[1:]] / rows.sum(axis=1)\n"
        "    return float(np.log(1 / p).mean())",
    ],
}
