"""What people see: the bar on terminals of any width, and what a log has."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from harness import PATIENCE, Case


class Terminal:
    """A screen of so many columns that knows what the program sends: lines, returns, wiping, and the break of a line
    that is full."""

    def __init__(self, columns):
        self.columns, self.rows, self.row, self.column, self.full = columns, [''], 0, 0, False

    def feed(self, text):
        for piece in re.findall('\x1b\\[[0-9;]*[A-Za-z]|.', text, re.S):
            if piece == '\r':
                self.column, self.full = 0, False
            elif piece == '\n':
                self.next_row()
            elif piece.startswith('\x1b'):
                assert piece == '\x1b[K', piece
                self.rows[self.row] = self.rows[self.row][:self.column]
            else:
                if self.full:
                    self.next_row()
                    self.column = 0
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[:self.column] + piece + line[self.column + 1:]
                self.column += 1
                self.full = self.column >= self.columns
                self.column -= self.full

    def next_row(self):
        self.row, self.full = self.row + 1, False
        self.rows.append('')

    def bars(self):
        return [row for row in self.rows if re.match(r'\[[#-]+\]', row) or re.match(r'\d+/\d+ ', row)]


class Screen(Case):
    def on_terminal(self, columns, *options, widths=(), env=None):
        """Everything that was written, and the screen at the end; `widths`: (row, columns) of changes on the way."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns or 0, 0, 0))
        child = self.start(*options, '--out', 'o', stdout=slave, stderr=slave, env=dict({'TERM': 'xterm'}, **(env or {})))
        os.close(slave)
        screen, text, widths = Terminal(columns or 80), '', list(widths)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if widths and len(self.rows()) >= widths[0][0]:
                width = widths.pop(0)[1]
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', 24, width, 0, 0))
                child.send_signal(signal.SIGWINCH)
            if not select.select([master], [], [], 0.05)[0]:
                if child.poll() is not None:
                    break
                continue
            try:
                piece = os.read(master, 65536).decode()
            except OSError:
                break
            text += piece
            screen.feed(piece)
        os.close(master)
        self.assertEqual(child.wait(PATIENCE), 0, text)
        return text, screen

    def test_widths(self):
        for columns in (20, 40, 80, 120, 999):
            with self.subTest(columns):
                text, screen = self.on_terminal(columns, '--steps', '100', '--eval-every', '50')
                self.assertEqual(screen.bars(), [])  # wiped in the end, and none left behind
                drawn = [p for p in re.split('[\r\n]', text) if re.match(r'(\[[#-]+\] )?\d+/100', p)]
                self.assertGreater(len(drawn), 1)
                for bar in drawn:
                    self.assertLess(len(bar.replace('\x1b[K', '')), columns)
                if columns >= 80:
                    self.assertTrue(all('loss' in bar and 'left' in bar and '[' in bar for bar in drawn))
                if columns == 40:
                    self.assertTrue(all('loss' in bar for bar in drawn))

    def test_follows_the_window(self):
        text, _ = self.on_terminal(120, '--steps', '500', widths=[(100, 40), (300, 90)])
        bars = [p.replace('\x1b[K', '') for p in re.split('[\r\n]', text) if re.match(r'(\[[#-]+\] )?\d+/500', p)]

        def longest(first, last):
            return max(len(b) for b in bars if first <= int(re.search(r'(\d+)/500', b).group(1)) < last)
        self.assertGreater(longest(1, 100), 60)
        self.assertLess(longest(250, 290), 40)
        self.assertGreater(longest(450, 490), 60)

    def test_terminals_that_cannot(self):
        for env in ({'TERM': 'dumb'}, {'TERM': None}, {'TERM': ''}):
            text, _ = self.on_terminal(80, '--steps', '40', env=env)
            self.assertNotIn('\x1b', text)
            self.assertNotIn('\r', text.replace('\r\n', '\n'))

    def test_unknown_width(self):
        for env, most in (({}, 80), ({'COLUMNS': '50'}, 50), ({'COLUMNS': 'x'}, 80), ({'COLUMNS': '-3'}, 80)):
            text, _ = self.on_terminal(None, '--steps', '100', env=env)
            drawn = [p.replace('\x1b[K', '') for p in re.split('[\r\n]', text) if '/100 ' in p and 'step' not in p]
            self.assertTrue(drawn and all(len(bar) < most for bar in drawn))

    def test_sentence_on_a_bar(self):
        """It begins a line of its own."""
        self.write('t.txt', b'')
        os.truncate(self.path('t.txt'), 30000)
        master, slave = pty.openpty()
        child = self.start('--steps', '100000', '--out', 'o', stderr=slave, env={'TERM': 'xterm'})
        os.close(slave)
        self.wait_rows(20, child)
        time.sleep(0.3)
        os.truncate(self.path('t.txt'), 0)
        self.assertEqual(child.wait(PATIENCE), 1)
        screen = Terminal(80)
        try:
            while True:
                screen.feed(os.read(master, 65536).decode())
        except OSError:
            os.close(master)
        self.assertTrue(any(row.startswith('pretrain: t.txt') for row in screen.rows), screen.rows)
        self.assertEqual(screen.bars(), [])

    def test_log(self):
        """A line after the first update, twenty in all, and one for each evaluation."""
        _, err = self.good('--steps', '100', '--eval-every', '25', '--out', 'o')
        lines = re.findall(r'^step (\d+)/100 ', err, re.M)
        self.assertEqual(lines, ['1'] + [str(i) for i in range(5, 101, 5)])
        self.assertEqual(len(re.findall('validation loss', err)), 3)
        self.assertNotIn('\r', err)

    def test_log_of_long_updates(self):
        """Within an update too half a minute does not pass without a line."""
        with open(self.path('log'), 'wb') as log:
            child = self.start('--accumulate', '1000000', '--steps', '20', '--out', 'o', stderr=log)
        self.wait_for(lambda: os.path.exists(self.path('o', 'train.csv')), child)
        time.sleep(31)
        self.assertRegex(self.read('log').decode(), r'step 0/20 .*micro-batch \d+ of 1000000')
        self.stop(child)
