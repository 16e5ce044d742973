"""bag.py TRAIN TEST CLASSES OUT: the baseline that knows no order. Logistic regression on how often each byte occurs."""

import math
import os
import random
import sys

EPOCHS, RATE = 20, 0.1


def read(path):
    """(label, [(byte, share of the text), ...]) of each line."""
    texts = []
    with open(path, 'rb') as file:
        for line in file:
            label, text = line.rstrip(b'\n').split(b'\t', 1)
            texts.append((int(label), [(byte, text.count(byte) / math.sqrt(len(text))) for byte in set(text)]))
    return texts


def probabilities(weights, bias, text):
    scores = [b + sum(w[byte] * share for byte, share in text) for w, b in zip(weights, bias)]
    top = max(scores)
    values = [math.exp(score - top) for score in scores]
    total = sum(values)
    return [value / total for value in values]


def train(texts, classes):
    """AdaGrad, text by text."""
    weights, squares = [[0.0] * 256 for _ in range(classes)], [[1e-8] * 256 for _ in range(classes)]
    bias, order = [0.0] * classes, random.Random(1)
    for _ in range(EPOCHS):
        order.shuffle(texts)
        for label, text in texts:
            for c, p in enumerate(probabilities(weights, bias, text)):
                error, w, square = p - (c == label), weights[c], squares[c]
                bias[c] -= 0.01 * error
                for byte, share in text:
                    square[byte] += (error * share) ** 2
                    w[byte] -= RATE * error * share / math.sqrt(square[byte])
    return weights, bias


def main(train_path, test_path, classes, out):
    weights, bias = train(read(train_path), int(classes))
    right, loss, test = 0, 0.0, read(test_path)
    for label, text in test:
        p = probabilities(weights, bias, text)
        right += p[label] == max(p)
        loss -= math.log(max(p[label], 1e-12))
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, 'summary.txt'), 'w') as file:
        file.write('val_loss=%.4f accuracy=%.4f\n' % (loss / len(test), right / len(test)))


if __name__ == '__main__':
    main(*sys.argv[1:])
