"""Line charts by gnuplot, all in one style: panels side by side over one key."""

import subprocess

import arms

STYLE = '''set terminal pngcairo size %d,%d font "DejaVu Sans,12" background rgb "#ffffff"
set output "%s"
set border 3 linecolor rgb "#808080"
set grid linetype 1 linecolor rgb "#e8e8e8"
set tics nomirror scale 0.4 textcolor rgb "#404040"
set bars 0.4
unset key
set multiplot
'''
KEY = '''unset xrange; unset yrange; unset title; unset xlabel; unset ylabel; unset border; unset tics; unset grid; unset arrow; unset logscale
set origin 0, 0; set size 1, %g; set xrange [0:1]; set yrange [0:1]
set key center center horizontal samplen 1.6 width 2 textcolor rgb "#404040"
plot %s
unset multiplot
'''
COLOURS = {'full': '#202020', 'lora': '#1f5fa8', 'relora': '#e08020', 'two-masks': '#b03030', 'matched-b': '#70c0e8',
           'control': '#909090', 'lowrank': '#8a4fa0'}
OTHERS = ('#2f7f4f', '#20a0a0', '#c0a000', '#d060a0', '#705030', '#6080ff')
ROW, IN_ROW = 22, 3  # pixels of a row of the key, entries in it


def colour(arm):
    others = [name for name in arms.ARMS if name not in COLOURS]
    return COLOURS.get(arm) or OTHERS[others.index(arm) % len(OTHERS)]


class Panel:
    """`settings` are lines for gnuplot."""

    def __init__(self, title, x, y, log=False, vertical=(), zero=False, settings=''):
        self.title, self.x, self.y, self.log, self.vertical, self.zero, self.settings = title, x, y, log, vertical, zero, settings
        self.series = []  # (arm, points, style)

    def add(self, arm, points, style='linespoints pointtype 7 pointsize 0.5'):
        """Points are (x, y) or (x, y, error)."""
        if points:
            self.series.append((arm, points, style))

    def script(self, number, count, bottom):
        text = ['set autoscale; set xtics autofreq; unset logscale; unset arrow',
                'set origin %g, %g; set size %g, %g' % (number / count, bottom, 1 / count, 1 - bottom), self.settings,
                'set title "%s"; set xlabel "%s"; set ylabel "%s"' % (self.title, self.x, self.y)]
        text += ['set logscale x'] if self.log else []
        text += ['set arrow from %g, graph 0 to %g, graph 1 nohead dashtype 2 linecolor rgb "#b0b0b0"' % (x, x) for x in self.vertical]
        plots = ['0 linecolor rgb "#808080"'] if self.zero else []
        for i, (arm, points, style) in enumerate(self.series):
            text += ['$d%d << E' % i, *(' '.join('%.6g' % value for value in point) for point in points), 'E']
            columns, style = ('1:2:3', 'yerrorlines pointtype 7 pointsize 0.5') if len(points[0]) > 2 else ('1:2', style)
            plots.append('$d%d using %s with %s linewidth 1.6 linecolor rgb "%s"' % (i, columns, style, colour(arm)))
        return '\n'.join(text + ['plot ' + ', '.join(plots)])


def draw(path, panels, width=560, height=400):
    """Panels without data are left out. False if none is left."""
    panels = [panel for panel in panels if panel.series]
    if not panels:
        return False
    shown = [arm for arm in arms.ARMS if any(arm == name for panel in panels for name, *_ in panel.series)]
    width = max(width * len(panels), 2 * width)
    below = ROW * (-(-len(shown) // IN_ROW) + 1)
    bottom = below / (height + below)
    keys = ', '.join('NaN with lines linewidth 3 linecolor rgb "%s" title "%s"' % (colour(arm), arms.ARMS[arm].title) for arm in shown)
    text = [STYLE % (width, height + below, path), *(panel.script(i, len(panels), bottom) for i, panel in enumerate(panels)), KEY % (bottom, keys)]
    subprocess.run(['gnuplot'], input='\n'.join(text), text=True, check=True)
    return True
