"""The usual mistakes in the functions of lesson 05."""

import numpy as np

from helpers import tinystories as right
from helpers.checks.cases import tinystories as cases
from helpers.checks.causes.altered import altered

# the text of the shelf, what stands in its place, and what is then so


COUNT_WORDS = (
    (
        "    if special_tokens:\n"
        '        pieces = regex.split("|".join(map(regex.escape, '
        "special_tokens)), text)\n",
        "    pieces = text.split(END_OF_TEXT)\n",
        "is cut at <|endoftext|>, whatever special_tokens are",
    ),
    (
        'regex.split("|".join(map(regex.escape, special_tokens)), text)',
        '[regex.sub("|".join(map(regex.escape, special_tokens)), "", text)]',
        "glues together what a special token keeps apart",
    ),
    (
        'tuple(w.encode("utf-8"))',
        "tuple(map(ord, w))",
        "has numbers of characters for keys, not bytes: encode each word as "
        "UTF-8 first",
    ),
    ('tuple(w.encode("utf-8"))', "w", "has texts for keys, not tuples"),
    (
        'tuple(w.encode("utf-8"))',
        'w.encode("utf-8")',
        "has bytes objects for keys, not tuples of byte values",
    ),
    (
        "    if special_tokens:\n",
        "    if False:\n",
        "counts the special tokens as text: cut the text at them first",
    ),
    (
        "map(regex.escape, special_tokens)",
        "special_tokens",
        "takes the marks in a special token for a pattern: regex.escape",
    ),
    (
        "words.update(regex.findall(PATTERN, piece))",
        "words = Counter(regex.findall(PATTERN, piece))",
        "holds the last piece alone: add to the counts of those before",
    ),
    (
        "regex.findall(PATTERN, piece)",
        "piece.split()",
        "is cut at spaces, not with PATTERN",
    ),
    (
        "regex.findall(PATTERN, piece)",
        "[w.strip() for w in regex.findall(PATTERN, piece)]",
        "lost the space that a word takes along",
    ),
    (
        "regex.findall(PATTERN, piece)",
        "set(regex.findall(PATTERN, piece))",
        "has 1 where a word occurs more often",
    ),
    (
        "regex.findall(PATTERN, piece)",
        "regex.findall(PATTERN, piece.lower())",
        "has capitals made small",
    ),
    (
        "regex.findall(PATTERN, piece)",
        "piece",
        "counts characters, not the pre-tokens that PATTERN finds",
    ),
    (
        "): count for",
        "): 1 for",
        "has 1 where a word occurs more often",
    ),
)


def count_words(*arguments):
    yield from altered(right.count_words, COUNT_WORDS, arguments)


COUNT_PAIRS = (
    (
        "pairs[pair] += count",
        "pairs[pair] += 1",
        "counts a pair once a word: it occurs as often as its word does",
    ),
    (
        "pairs[pair] += count",
        "pairs[pair] = count",
        "counts a pair only once where it occurs twice: add to what is there",
    ),
    (
        "for pair in zip(word, word[1:]):",
        "for pair in set(zip(word, word[1:])):",
        "counts a pair only once where it occurs twice: add to what is there",
    ),
    (
        "for pair in zip(word, word[1:]):",
        "for pair in zip(word[::2], word[1::2]):",
        "has every second pair alone: pairs overlap",
    ),
    (
        "for pair in zip(word, word[1:]):",
        "for pair in zip(word[1:], word):",
        "has the two ids of each pair in the wrong order",
    ),
    (
        "where[pair].add(index)",
        "where[pair] = {index}",
        "has the last word alone in its sets: add to what is there",
    ),
    (
        "where[pair].add(index)",
        "where[pair].add(tuple(word))",
        "has words in its sets, not their indices",
    ),
    (
        "where[pair].add(index)",
        "pass",
        "has empty sets: note which words hold each pair",
    ),
    (
        "where[pair].add(index)",
        "where[pair].add(index + 1)",
        "numbers the words from 1, not from 0",
    ),
    (
        "zip(word, word[1:])",
        "zip(word, word[1:-1])",
        "lacks the last pair of each word",
    ),
)


def count_pairs(words, counts):
    arguments, use = (words, counts), cases._count
    found = use(right.count_pairs, words, counts)
    if isinstance(found, dict):
        numbered = [
            (pair, index)
            for index, word in enumerate(words)
            for pair in zip(word, word[1:])
        ]
        found["where"] = {
            pair: [i for other, i in numbered if other == pair]
            for pair, _ in numbered
        }
        found["where holds sets"] = False
        yield "has lists in where: a set holds each word once", found
    yield from altered(right.count_pairs, COUNT_PAIRS, arguments, use=use)


MERGE = (
    (
        "            i += 2\n",
        "            i += 1\n",
        "goes one place on after a merge: the second id of the pair is used "
        "again",
    ),
    (
        "i + 1 < len(word) and",
        "i + 2 < len(word) and",
        "overlooks a pair at the end",
    ),
    (
        "while i < len(word):",
        "while i < len(word) - 1:",
        "loses the last id where it is in no pair",
    ),
    (
        "(word[i], word[i + 1]) == pair",
        "{word[i], word[i + 1]} == set(pair)",
        "merges the pair the other way round as well",
    ),
    (
        "(word[i], word[i + 1]) == pair",
        "(word[i], word[i + 1]) == pair and new_id not in merged",
        "has the first occurrence merged alone",
    ),
    (
        "(word[i], word[i + 1]) == pair",
        "word[i] == pair[0]",
        "merges wherever the first id stands: look at its neighbour too",
    ),
    (
        "merged.append(new_id)",
        "merged.extend([new_id, new_id])",
        "has the new id in both places: two ids become one",
    ),
    (
        "merged.append(new_id)",
        "merged.extend(pair)",
        "is as it was: nothing is merged",
    ),
    (
        "            merged.append(word[i])\n",
        "            pass\n",
        "lost the ids that are in no pair",
    ),
)


def merge(word, pair, new_id):
    pairs = list(zip(word, word[1:]))
    kept = [new_id if found == pair else found[0] for found in pairs]
    yield "keeps the second id of the pair, and loses the last id", kept
    each = [new_id if i in pair else i for i in word]
    yield "replaces each id of the pair, wherever it stands", each
    yield from altered(right.merge, MERGE, (word, pair, new_id))
    backwards = right.merge(word[::-1], pair[::-1], new_id)[::-1]
    yield "is merged from right to left", backwards


MERGE_EVERYWHERE = (
    (
        "for index in where.pop(pair):",
        "for index in range(len(words)):",
        "looks at all words: where says which hold the pair",
    ),
    (
        "        words[index] = new\n",
        "",
        "leaves the words as they were: put the merged one back",
    ),
    (
        "pairs[gone] -= counts[index]",
        "pass",
        "keeps the old pairs counted: subtract those of the word before the "
        "merge",
    ),
    (
        "pairs[gone] -= counts[index]",
        "pairs[gone] -= 1",
        "subtracts 1, not the count of the word",
    ),
    (
        "pairs[made] += counts[index]",
        "pass",
        "does not count the pairs of the merged word",
    ),
    (
        "pairs[made] += counts[index]",
        "pairs[made] += 1",
        "adds 1, not the count of the word",
    ),
    (
        "            where[made].add(index)\n",
        "",
        "does not note in where which word holds the new pairs",
    ),
    (
        "            changed.add(made)\n",
        "",
        "does not return the new pairs, whose counts are new too",
    ),
    (
        "        changed.update(zip(old, old[1:]))\n",
        "",
        "does not return the old pairs whose counts fell",
    ),
    (
        "for gone in zip(old, old[1:]):",
        "for gone in [pair]:",
        "subtracts the merged pair alone: its neighbours are gone too",
    ),
    (
        "for gone in zip(old, old[1:]):",
        "for gone in set(zip(old, old[1:])):",
        "subtracts a pair once that occurs twice in a word",
    ),
    (
        "for made in zip(new, new[1:]):",
        "for made in set(zip(new, new[1:])):",
        "adds a pair once that occurs twice in a word",
    ),
    (
        "return [other for other in changed if pairs[other] > 0]",
        "return []",
        "returns no pair",
    ),
)


def merge_plainly(pair, new_id, words, counts, pairs, where):
    """Do what merge_everywhere does: all pairs of a word out, and in again."""
    changed = set()
    for index in where.pop(pair):
        old = words[index]
        new = right.merge(old, pair, new_id)
        words[index] = new
        for gone in zip(old, old[1:]):
            pairs[gone] -= counts[index]
        for made in zip(new, new[1:]):
            pairs[made] += counts[index]
            where[made].add(index)
            changed.add(made)
        changed.update(zip(old, old[1:]))
    return [other for other in changed if pairs[other] > 0]


def merge_everywhere(*arguments):
    use = cases._merge_and_look
    yield from altered(merge_plainly, MERGE_EVERYWHERE, arguments, use=use)


MOST_FREQUENT = (
    (
        "        if -negative_count == pairs[pair] > 0:\n",
        "        if True:\n",
        "believes entries whose count is out of date",
    ),
    (
        "-negative_count == pairs[pair] > 0",
        "-negative_count == pairs[pair]",
        "gives a pair whose count has fallen to 0",
    ),
    (
        "-negative_count == pairs[pair] > 0",
        "-negative_count >= pairs[pair] > 0",
        "believes entries whose count is out of date",
    ),
    (
        "-negative_count == pairs[pair] > 0",
        "-negative_count <= pairs[pair] and pairs[pair] > 0",
        "believes entries whose count is out of date",
    ),
    (
        "-negative_count == pairs[pair] > 0",
        "pairs[pair] > 0",
        "believes entries whose count is out of date",
    ),
    (
        "heapq.heappop(heap)",
        "heap.pop()",
        "takes the last of the list, not the smallest: heapq.heappop",
    ),
    (
        "heapq.heappop(heap)",
        "heap.pop(heap.index(max(heap)))",
        "takes the largest entry: with -count the smallest comes first",
    ),
    (
        "            return pair\n",
        "            return negative_count, pair\n",
        "is a whole entry, not its pair",
    ),
    (
        "            return pair\n    return None",
        "            return pair\n        return None",
        "gives up at the first entry that is out of date: pop the next",
    ),
)


def most_frequent(entries, counts, times):
    arguments, use = (entries, counts, times), cases._pop
    first = use(right.most_frequent, entries, counts, 1)
    yield "leaves its entry in the heap, and comes again", first * times
    yield from altered(right.most_frequent, MOST_FREQUENT, arguments, use=use)


TRAIN_BPE = (
    (
        "enumerate(tokens)}",
        "enumerate(tokens, 1)}",
        "has ids from 1 on: the first byte is 0",
    ),
    (
        "bytes([i]) for",
        "bytes(i) for",
        "has i zeros for byte i: bytes([i]), not bytes(i)",
    ),
    (
        "vocab_size - len(special_tokens)",
        "vocab_size",
        "leaves no ids for the special tokens",
    ),
    (
        "vocab_size - len(special_tokens)",
        "vocab_size - 1",
        "leaves one id for the special tokens, however many there are",
    ),
    (
        "range(256, vocab_size - len(special_tokens))",
        "range(256, 256 + vocab_size - len(special_tokens))",
        "has 256 merges too many: vocab_size counts the bytes as well",
    ),
    (
        "range(256, vocab_size - len(special_tokens))",
        "range(256, vocab_size - len(special_tokens) - 1)",
        "has a merge too few",
    ),
    (
        "count_words(text, special_tokens)",
        "count_words(text)",
        "cuts the text at <|endoftext|>, not at special_tokens",
    ),
    (
        "tokens[pair[0]] + tokens[pair[1]]",
        "tokens[pair[1]] + tokens[pair[0]]",
        "has the two halves of a token in the wrong order",
    ),
    (
        "            heapq.heappush(heap, (-pairs[other], other))\n",
        "            pass\n",
        "never hears of new counts: push (-count, pair) for each",
    ),
    (
        "heapq.heappush(heap, (-pairs[other], other))",
        "heapq.heappush(heap, (pairs[other], other))",
        "never hears of new counts: push (-count, pair) for each",
    ),
    (
        "[(-count, pair) for pair, count in pairs.items()]",
        "[(count, pair) for pair, count in pairs.items()]",
        "begins with counts without the minus: the rarest would come first",
    ),
    (
        "counts = list(counted.values())",
        "counts = [1] * len(words)",
        "takes every word as often as the others: use its count",
    ),
    (
        "        changed = merge_everywhere",
        "        changed = [pair]\n        continue\n        merge_everywhere",
        "merges nothing: the words stay as they are",
    ),
)


def train_bpe(*arguments):
    yield from altered(right.train_bpe, TRAIN_BPE, arguments, use=cases._learn)


ENCODE_WORD = (
    (
        "parts[i : i + 2] = [best]",
        "parts[i : i + 1] = [best]",
        "keeps the second part beside the joined one",
    ),
    (
        "min(joined, key",
        "max(joined, key",
        "merges the highest rank first, or stops at a join without a rank",
    ),
    (
        "ranks.get(part, len(ranks))",
        "ranks.get(part, -1)",
        "has no merge at all",
    ),
    (
        "min(joined, key=lambda part: ranks.get(part, len(ranks)))",
        "max((p for p in joined if p in ranks), key=len, default=b'')",
        "takes the longest piece or the first, not the one learned first",
    ),
    (
        "min(joined, key=lambda part: ranks.get(part, len(ranks)))",
        "next((p for p in joined if p in ranks), b'')",
        "takes the longest piece or the first, not the one learned first",
    ),
    (
        "return [ranks[part] for part in parts]",
        "return parts",
        "holds pieces of bytes, not their ids",
    ),
    (
        "    return [ranks[part] for part in parts]",
        "    return [ranks[p] if len(p) > 1 else p[0] for p in parts]",
        "takes a byte for its id: look every piece up in ranks",
    ),
    (
        "    while len(parts) > 1:",
        "    for _ in parts[1:2]:",
        "has one merge alone: go on until no join has a rank",
    ),
    (
        "    while len(parts) > 1:",
        "    while False:",
        "has no merge at all",
    ),
    (
        "parts[i : i + 2] = [best]",
        "parts[i] = best; del parts[i - 1]",
        "loses a neighbour of what was merged",
    ),
)


def encode_word(word, ranks):
    yield from altered(right.encode_word, ENCODE_WORD, (word, ranks))
    yield (
        "takes the longest piece or the first, not the one learned first",
        _take_longest(word, ranks),
    )


def _take_longest(word, ranks):
    ids = []
    while word:
        n = max(n for n in range(1, len(word) + 1) if word[:n] in ranks)
        ids.append(ranks[word[:n]])
        word = word[n:]
    return ids


SPLIT_STORIES = (
    (
        "return shuffled[n_valid:], shuffled[:n_valid]",
        "return shuffled",
        "is one list: split it",
    ),
    (
        "list(dict.fromkeys(stories))",
        "list(stories)",
        "keeps stories that were told before",
    ),
    (
        "list(dict.fromkeys(stories))",
        "sorted(set(stories))",
        "has the stories sorted before they are shuffled: keep their order",
    ),
    (
        "return shuffled[n_valid:], shuffled[:n_valid]",
        "return shuffled[:n_valid], shuffled[n_valid:]",
        "has the two parts in the wrong order: training comes first",
    ),
    (
        "return shuffled[n_valid:], shuffled[:n_valid]",
        "return shuffled[:-n_valid], shuffled[-n_valid:]",
        "holds out the last stories of the shuffled list, not the first",
    ),
    (
        "shuffled[n_valid:], ",
        "shuffled, ",
        "trains on the stories that are held out",
    ),
    (
        "shuffled = [unique[i] for i in order]",
        "shuffled = unique",
        "is not shuffled",
    ),
    (
        "np.random.default_rng(seed)",
        "np.random.default_rng(0)",
        "has the seed ignored",
    ),
    (
        "round(len(unique) * valid_fraction)",
        "int(len(unique) * valid_fraction)",
        "has the number of held-out stories cut off, not rounded",
    ),
    (
        "round(len(unique) * valid_fraction)",
        "round(len(stories) * valid_fraction)",
        "takes its fraction of all stories, repeats included",
    ),
    (
        "round(len(unique) * valid_fraction)",
        "round(len(unique) * (1 - valid_fraction))",
        "holds out what should be trained on",
    ),
)


def split_stories(*arguments, **settings):
    function = right.split_stories
    yield from altered(function, SPLIT_STORIES, arguments, settings)
    train, valid = right.split_stories(*arguments, **settings)
    order = {story: i for i, story in enumerate(arguments[0])}
    parts = [sorted(part, key=order.get) for part in (train, valid)]
    yield "has its parts in the order they were told in", tuple(parts)


TOKENIZE_STORIES = (
    (
        "np.concatenate(pieces)",
        "np.concatenate([*pieces, end])",
        "has a separator too many at the end",
    ),
    (
        "pieces += [np",
        "pieces = [np",
        "holds the last story alone",
    ),
    (
        "pieces = [end]",
        "pieces = []",
        "lacks the separator before the first story",
    ),
    (
        "np.uint16), end]",
        "np.uint16)]",
        "lacks the separators after the stories",
    ),
    (
        "pieces += [np",
        "pieces += [end, np",
        "has two separators between stories",
    ),
    (
        "np.concatenate(pieces)",
        "np.concatenate(pieces[:-1])",
        "lacks the separator after the last story",
    ),
    (
        "np.concatenate(pieces)",
        "np.concatenate(pieces).astype(np.int64)",
        "has int64 ids: 16 bits are enough",
    ),
    (
        "np.concatenate(pieces)",
        "np.concatenate(pieces).astype(np.int16)",
        "has int16 ids: from 32,768 on they turn negative, uint16 is wanted",
    ),
    (
        "np.concatenate(pieces)",
        "np.concatenate(pieces).astype(np.uint8)",
        "has uint8 ids: from 256 on they begin again at 0",
    ),
    (
        "[tokenizer.end_of_text]",
        "[0]",
        "has 0 for a separator, not tokenizer.end_of_text",
    ),
    (
        "[tokenizer.end_of_text]",
        "[tokenizer.vocab_size]",
        "has vocab_size for a separator, not tokenizer.end_of_text",
    ),
    (
        "    files.write_tokens(path, tokens)\n    return np.load("
        'path, mmap_mode="r", allow_pickle=False)',
        "    files.write_tokens(path, tokens)\n    return tokens",
        "is not memory-mapped: np.load with mmap_mode",
    ),
    (
        'mmap_mode="r", ',
        "",
        "is not memory-mapped: np.load with mmap_mode",
    ),
    (
        "    if path is None:\n",
        "    if True:\n",
        "is not written to path",
    ),
)


def tokenize_stories(*arguments):
    use, function = cases._tokenize, right.tokenize_stories
    yield from altered(function, TOKENIZE_STORIES, arguments, use=use)


SAMPLE_BATCH = (
    (
        "rng.integers(0, len",
        "np.random.default_rng().integers(0, len",
        "does not draw from rng",
    ),
    (
        "tokens[s : s + T + 1]",
        "tokens[s : s + T]",
        "is too short by one: ids and targets need windows of T + 1",
    ),
    (
        "len(tokens) - T, size=B",
        "len(tokens) - T - 1, size=B",
        "never takes the last window that fits",
    ),
    (
        "rng.integers(0, len",
        "rng.integers(1, len",
        "never takes the first window",
    ),
    (
        "windows[:, 1:].copy()",
        "windows[:, :-1].copy()",
        "has targets that are the ids themselves: move them by one place",
    ),
    (
        "windows.astype(np.int64)",
        "windows",
        "is uint16 as the tokens are: make it int64",
    ),
    (
        "windows.astype(np.int64)",
        "windows.astype(np.int32)",
        "is int32: make it int64",
    ),
    (
        "rng.choice(starts, size=B)",
        "rng.integers(0, len(tokens) - T, size=B)",
        "has starts ignored",
    ),
    (
        "rng.choice(starts, size=B)",
        "rng.integers(0, len(starts), size=B)",
        "takes the number of a start for its place: starts[i]",
    ),
    (
        "rng.choice(starts, size=B)",
        "np.resize(starts, B) if B < 9 else np.repeat(starts[:1], B)",
        "has the first start alone",
    ),
    (
        "rng.integers(0, len(tokens) - T, size=B)",
        "np.repeat(rng.integers(0, len(tokens) - T), B)",
        "has the same window in every row",
    ),
    (
        "rng.integers(0, len(tokens) - T, size=B)",
        "np.arange(B) % (len(tokens) - T)",
        "draws nothing: the places follow one another",
    ),
    (
        "return windows[:, :-1], windows[:, 1:].copy()",
        "return windows[:, 1:], windows[:, :-1].copy()",
        "has ids and targets in the wrong order",
    ),
    (
        "rng.integers(0, len(tokens) - T, size=B)",
        "rng.integers(0, (len(tokens) - 1) // T, size=B) * T",
        "takes windows one behind the other, and none in between",
    ),
)


def sample_batch(*arguments):
    use, function = cases._sample, right.sample_batch
    yield from altered(function, SAMPLE_BATCH, arguments, use=use)


def bytes_per_token(texts, encode):
    sizes = [len(text.encode("utf-8")) for text in texts]
    tokens = [len(encode(text)) for text in texts]
    ratio = sum(sizes) / sum(tokens)
    letters = sum(map(len, texts)) / sum(tokens)
    if letters == sum(sizes) // sum(tokens):
        yield (
            "counts letters where bytes are wanted, or comes from // where "
            "/ is wanted",
            letters,
        )
    else:
        yield "counts letters, not bytes", letters
        yield "comes from //: / keeps the fraction", ratio // 1
    yield "is tokens a byte, the other way round", 1 / ratio
    ratios = np.divide(sizes, tokens)
    yield (
        "is the mean of the ratios of the texts: divide the sums",
        ratios.mean(),
    )
    yield "is the sum of the ratios: divide the sums", ratios.sum()
    yield "is that of the first text alone", ratios[0]
    yield "is that of the last text alone", ratios[-1]
    yield "counts bytes, and no tokens", sum(sizes)
    yield "is bytes a text: divide by the tokens", sum(sizes) / len(texts)


def story_mask(ids, end):
    begins = ids == end
    story, causal = np.cumsum(begins), np.tri(len(ids), dtype=bool)

    def same(story):
        return story[:, None] == story

    yield "is not causal: row t sees columns 0..t", same(story)
    yield "is causal alone: no story ends", causal
    yield (
        "gives a separator to the story that it ends",
        causal & same(story - begins),
    )
    yield (
        "is turned round: row t sees columns 0..t of its story",
        causal.T & same(story),
    )
    yield (
        "hides each position from itself",
        np.tri(len(ids), k=-1, dtype=bool) & same(story),
    )
    yield (
        "hides the separators",
        causal & same(story) & ~begins,
    )
    yield "is True where it must be False", ~(causal & same(story))
    yield "has or where and is wanted", causal | same(story)


def bigram_loss(train, valid, V):
    def loss(counts, axis=1, pairs=None, base=1.0):
        probs = counts / counts.sum(axis=axis, keepdims=True)
        pairs = (valid[:-1], valid[1:]) if pairs is None else pairs
        return -np.log(probs[pairs]) / base

    def count(added=0.1):
        counts = np.full((V, V), added)
        np.add.at(counts, (train[:-1], train[1:]), 1)
        return counts

    once = np.full((V, V), 0.1)
    once[train[:-1], train[1:]] += 1
    yield (
        "counts a pair once: counts[a, b] += 1 does, np.add.at counts all",
        loss(once).mean(),
    )
    yield (
        "has columns that sum to 1: each row must",
        loss(count(), axis=0).mean(),
    )
    yield (
        "has the token after in the rows: the token before belongs there",
        loss(count().T).mean(),
    )
    back = valid[1:], valid[:-1]
    yield (
        "has the pairs of valid turned round",
        loss(count(), pairs=back).mean(),
    )
    yield "adds 1 to each count: add 0.1", loss(count(1.0)).mean()
    yield "adds nothing to the counts: add 0.1", loss(count(0.0)).mean()
    yield "lacks the minus", -loss(count()).mean()
    yield (
        "is the sum over the targets: their mean is wanted",
        loss(count()).sum(),
    )
    yield (
        "is divided by the ids of valid: the first is no target",
        loss(count()).sum() / len(valid),
    )
    yield "is in bits: np.log gives nats", loss(count(), base=np.log(2)).mean()
    yield (
        "is the perplexity: its logarithm is wanted",
        np.exp(loss(count()).mean()),
    )
    here = train[:-1], train[1:]
    yield "scores train, not valid", loss(count(), pairs=here).mean()
    yield (
        "has all counts sum to 1: each row must",
        loss(count(), axis=None).mean(),
    )
    probs = count() / count().sum(axis=1, keepdims=True)
    mean = probs[valid[:-1], valid[1:]].mean()
    yield "is the logarithm of a mean: take the mean last", -np.log(mean)
