"""Line charts by gnuplot, all in one style."""

import subprocess

STYLE = '''set terminal pngcairo size %d,%d font "DejaVu Sans,12" background rgb "#ffffff"
set output "%s"
set border 3 linecolor rgb "#808080"
set grid linetype 1 linecolor rgb "#e8e8e8"
set tics nomirror scale 0.4 textcolor rgb "#404040"
set key top right samplen 1.6 textcolor rgb "#404040"
set bars 0.4
set multiplot layout 1,%d
'''
COLOURS = {'full': '#202020', 'lora': '#1f5fa8', 'relora': '#e08020', 'joint': '#b03030', 'control': '#909090', 'lowrank': '#8a4fa0'}
OTHERS = ('#2f7f4f', '#20a0a0', '#c0a000', '#d060a0')  # of arms that come later


class Panel:
    def __init__(self, title, x, y, log='', vertical=(), zero=False, limits=''):
        self.title, self.x, self.y, self.log, self.vertical, self.zero, self.limits = title, x, y, log, vertical, zero, limits
        self.series = []  # (name of the arm, label, points, style)

    def add(self, arm, label, points, style='linespoints pointtype 7 pointsize 0.6'):
        """Points are (x, y) or (x, y, error)."""
        if points:
            self.series.append((arm, label, points, style))

    def script(self):
        unknown = [arm for arm in dict.fromkeys(arm for arm, *_ in self.series) if arm not in COLOURS]
        text = ['unset logscale; unset arrow; unset yrange; set autoscale', self.limits,
                'set title "%s"; set xlabel "%s"; set ylabel "%s"' % (self.title, self.x, self.y)]
        text += ['set logscale %s' % self.log] if self.log else []
        text += ['set arrow from %g, graph 0 to %g, graph 1 nohead dashtype 2 linecolor rgb "#b0b0b0"' % (x, x) for x in self.vertical]
        plots = ['0 notitle linecolor rgb "#808080"'] if self.zero else []
        for number, (arm, label, points, style) in enumerate(self.series):
            colour = COLOURS.get(arm) or OTHERS[unknown.index(arm) % len(OTHERS)]
            text += ['$d%d << E' % number, *(' '.join('%.6g' % value for value in point) for point in points), 'E']
            plots.append('$d%d using 1:2 with %s linewidth 1.6 linecolor rgb "%s" title "%s"' % (number, style, colour, label))
            if len(points[0]) > 2:
                plots.append('$d%d using 1:2:3 with yerrorbars pointtype 0 linecolor rgb "%s" notitle' % (number, colour))
        return '\n'.join(text + ['plot ' + ', \\\n'.join(plots)])


def draw(path, panels, width=620, height=460):
    """Panels without data are left out. False if none is left."""
    panels = [panel for panel in panels if panel.series]
    if panels:
        text = STYLE % (width * len(panels), height, path, len(panels)) + '\n'.join(panel.script() for panel in panels) + '\nunset multiplot\n'
        subprocess.run(['gnuplot'], input=text, text=True, check=True)
    return bool(panels)
