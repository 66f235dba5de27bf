"""Rewards on tables of inputs: answers, completions, recipes, and a judge that is interrupted, killed and forked."""
import asyncio
import functools
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import torch

from mora.answers import _Judge, _judge, _verdict, equivalent, last_boxed, normalise_answer, same_answer
from mora.errors import ConfigError
from mora.pareto import Objective
from mora.reward_designs import (
    GatedClarity,
    GatedConciseness,
    GradedClarity,
    GradedConciseness,
    MovingConciseness,
    OpposedConciseness,
    TargetConciseness,
)
from mora.rewards import (
    AccuracyReward,
    ClarityReward,
    ConcisenessReward,
    find_reward,
    is_clear,
    objective_of,
    step_markers,
)

ENDLESS = "9^{9^{9^9}}"


def table(text):
    "(answer, truth) of each line: a truth, then its answers."
    lines = [line.split(" ~ ") for line in text.strip("\n").split("\n")]
    return [(answer, truth) for truth, *answers in lines for answer in answers]


# the robust rule: the truth, then answers that are right
SAME = table(r"""
42 ~ 42.
B ~ B. ~ \text{B} ~ \text{(B)} ~ (B) ~ \text{B.} ~ B)
\text{(B)} ~ \textbf{(B)}
C ~ \mathrm{C}
(3,4) ~ (３，４）
34 ~ ３４ ~ ٣٤
60^\circ ~ 60° ~ 60\degree ~ 60 ~ 60 \text{ degrees}
60° ~ 60^{\circ}
25000 ~ 2.5e4 ~ 2.5E4 ~ 2.5\times10^4 ~ 2.5 \cdot 10^{4}
0.001 ~ 1e-3 ~ 10⁻³
\frac{2}{3} ~ 0.\overline{6}
\frac{1}{6} ~ 0.1\overline{6}
\frac{1}{3} ~ 0.\bar{3}
\frac17 ~ 0.\overline{142857}
1/3 ~ .\overline{3}
\frac43 ~ 1.\overline{3}
\frac13 ~ 0.\dot{3}
\frac{7}{3} ~ 2 1/3
-\frac{7}{3} ~ -2 1/3
\frac73 ~ 2\frac{1}{3}
3.5 ~ 3\frac12
1.8 ~ 1\frac{4}{5}
-13 ~ −13 ~ –13
0.5 ~ ½ ~ .5 ~ 50\% ~ .5.
\frac52 ~ 2½ ~ 2{\frac{1}{2}} ~ {2}\frac12
x^2+1 ~ x²+1 ~ f(x)=x^2+1
\sqrt{2} ~ √2
2\sqrt3 ~ 2√3
3\pi ~ 3π
\frac{\pi}{2} ~ π/2
\frac{5}{8} ~ \frac{5}8 ~ \frac58
\frac12 ~ \dfrac{1}{2} ~ 50\%
\frac{1}{2} ~ 1/2 ~ 0.5
5 ~ 5.0 ~ 5.00 ~ +5 ~ 5 \text{ m} ~ x=5 ~ 2+3=5 ~ x=2+3=5 ~ AB=5 ~ \text{5 cm} ~ 5^\circ C
5 ~ 5\text{ N}
7 ~ 007
8 ~ 008
12345 ~ 12,345 ~ 12{,}345 ~ 12,\!345
1000000 ~ 1\,000\,000
11111111100 ~ 11,\! 111,\! 111,\! 100
100, 200, 300 ~ 100,200,300
18.90 ~ \$18.90
\$18.90 ~ \$18.9 ~ 18.90 \text{ dollars}
13 ~ 13\,\mathrm{cm} ~ 13 cm
13\text{ cm} ~ 13\text{cm}
15\mbox{ cm}^2 ~ 15 \text{ cm}^2 ~ 15
15 \text{ cm}^2 ~ 15 \text{ square cm}
864 \mbox{ inches}^2 ~ 864 ~ 864 \text{ in}^2
5 \text{ m} ~ 5 \text{ meters}
5 \text{ m}/\text{s} ~ 5 \text{ m/s}
12 ~ 12 \text{ students} ~ \text{Area}=12 ~ 3\times4 ~ $12$ ~ \(12\) ~ 12
5.4 ~ 5.4 \text{ cents}
\frac{270}{7} ~ \frac{270}7\text{ degrees}
35\% ~ 35 percent ~ 35 \text{ percent}
45\% ~ 45%
62\% ~ 62
12.5 ~ 12.5\%
29 ~ \text{29}
x=5 ~ 5 ~ x = 5
2x+3 ~ y=2x+3
y=3+2x ~ y = 2x + 3
30 ~ \angle ABC = 30^\circ
2n+1 ~ a_n = 2n+1
2x+3y-5=0 ~ y=-\frac{2}{3}x+\frac{5}{3}
5x-7y+11z+4=0 ~ 10x-14y+22z+8=0
5x - 7y + 11z + 4 = 0 ~ 5x - 7y + 11z = -4
x<4 ~ 2x<8 ~ 4>x ~ (-\infty,4)
(-\infty,4) ~ x<4
[2,\infty) ~ x\ge 2
x\geq2 ~ [2,\infty)
(1,3] ~ 1<x\le 3 ~ 3\ge x>1
1 < x \leq 3 ~ (1,3]
[-2,7] ~ x \in [-2,7]
x \in [-2,7] ~ [-2,7] ~ -2\le x\le 7
(-\infty,1)\cup(3,\infty) ~ x<1 \text{ or } x>3
(-\infty, 2) \cup (3, \infty) ~ (3,\infty)\cup(-\infty,2)
x<1 or x>3 ~ x>3 \text{ or } x<1
27, 64 ~ 64, 27 ~ 27 and 64 ~ 27 \text{ or } 64
27,64 ~ 27 \text{ and } 64 ~ x=27 \text{ or } x=64
-2,1 ~ x=-2, x=1 ~ x=-2,1 ~ 1, -2
3,5,7 ~ 3, 5, \text{ and } 7
\{3,5\} ~ \{5,3\}
3,5 ~ \{3,5\}
1\pm\sqrt{19} ~ 1+\sqrt{19}, 1-\sqrt{19}
1 \pm \sqrt{19} ~ 1\pm\sqrt{19} ~ x=1\pm\sqrt{19}
\pm 15 ~ -15, 15
\{1\pm\sqrt{5},-2\} ~ \{-2,1+\sqrt5,1-\sqrt5\}
\frac{-1+\sqrt5}{2},\frac{-1-\sqrt5}{2} ~ \frac{-1\pm\sqrt{5}}{2}
\left( \frac{3}{2}, -13 \right) ~ (\frac{6}{4},-13)
[7,\infty) ~ \left[7,\infty\right)
(1,2),(2,1) ~ (2,1),(1,2)
\begin{pmatrix}3\\8\\\end{pmatrix} ~ \begin{pmatrix}3\\8\end{pmatrix}
\begin{pmatrix}\frac12&1\end{pmatrix} ~ \begin{pmatrix}0.5&1\end{pmatrix}
\begin{pmatrix}4\\9\end{pmatrix} ~ \begin{bmatrix}4\\9\end{bmatrix}
(1,2) ~ \langle 1,2 \rangle ~ (x,y)=(1,2) ~ (a,b)=(1,2)
132_{5} ~ 132_5
204_5 ~ 204_5
\sqrt{5} ~ \sqrt(5)
7\sqrt5 ~ 7\sqrt(5)
\frac{4}{5} ~ \sqrt{\frac{16}{25}}
2\sqrt{2} ~ \sqrt{8}
\frac{\sqrt{2}}{2} ~ \frac{1}{\sqrt2}
1+\sqrt{2} ~ \sqrt{3+2\sqrt2}
11 \sqrt{5} + 11 ~ 11+11\sqrt{5}
(a+5)(b+2) ~ (b+2)(a+5)
(x-1)(x+1) ~ x^2-1
x^2+x ~ x(x+1)
\sin 2x ~ 2\sin x\cos x
\cot x ~ \cos x/\sin x ~ \cot(x) ~ cot x
x/2 ~ \frac{x}{2}
3+2i ~ 2i+3
3-2i ~ 3.0-2.0i
-x ~ -1 \cdot x
1024 ~ 2^{10} ~ 2^10
120 ~ 5!
10 ~ \binom{5}{2}
20 ~ 2\binom{5}{2}
6 ~ (2)(3) ~ 2(3) ~ \frac{4}{2}(3)
1 ~ 2(\frac12) ~ \frac{4}{2}\frac{1}{2} ~ \ln e ~ e^{0}
3 ~ \log_2 8 ~ \log_{2}(8) ~ |-3|
2 ~ \lfloor 2.5 \rfloor
Evelyn ~ \text{Evelyn}
\text{Evelyn} ~ evelyn
no solution ~ \text{no solution}
\text{east} ~ East
Friday ~ \text{Friday}
\text{Friday} ~ \text{ Friday}
even ~ \text{even}
2 : 3 ~ 2:3
P\to Q ~ P \rightarrow Q
x\neq6 ~ x \ne 6
∞ ~ \infty
\varnothing ~ \emptyset
-x+5 ~ 5-x
\frac{1}{a} ~ a^{-1}
\sqrt{x} ~ x^{1/2}
x^2 ~ x^(2) ~ x**2
2x ~ 2*x
\frac{1}{1000} ~ 10^-3
(0.6,\frac83] ~ \left(\frac{3}{5},\frac{8}{3}\right]
\frac15\sqrt{21} ~ \frac{\sqrt{21}}{5}
2+3\pi ~ 3\pi + 2
x>3, x<-1 ~ x<-1, x>3
x<y ~ y>x
\begin{cases} x & x>1 \\ 1 & x \leq 1 \end{cases} ~ \left\{\begin{array}{ll} x & x>1 \\ 1 & x\le 1\end{array}\right.
3 R^{2} ~ 3R^2
\arctan x ~ \tan^{-1} x
(\sin x)^2 ~ \sin^2 x
\sin^2 x ~ 1-\cos^2 x
(-\infty,\infty) ~ \mathbb{R}
\mathbb{R} ~ x\in\mathbb{R}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \left(\begin{array}{cc}1&2\\3&4\end{array}\right)
5^\circ\text{C} ~ 5°C
5 \text{ square units} ~ 5 \text{ sq units}
AB ~ \text{AB}
yes ~ YES
5N ~ 5 N
5\,\mathrm{N} ~ 5 \text{ N}
5 \text{ km/h} ~ \text{5 km/h}
9:30 p.m. ~ 9:30 \text{ p.m.}
k\pi, k \in \mathbb{Z} ~ k\pi, k\in\mathbb{Z}
y=2x+3 ~ y = 3+2x
\frac{1}{2}, \frac13 ~ 1/3, 0.5
(1,2), (3,4) ~ (1,2) \text{ and } (3,4) ~ (3,4),(1,2)
x^2+y^2=1 ~ x^2+y^2-1=0
(x-1)^2+(y-2)^2=9 ~ x^2-2x+y^2-4y-4=0
\sqrt{x^2} ~ |x|
\frac{n(n+1)}{2} ~ n(n+1)/2 ~ \frac12 n(n+1) ~ \binom{n+1}{2}
\frac{1}{\cos x} ~ \sec x
1-2\sin^2 x ~ \cos 2x
\pm\sqrt{2} ~ \sqrt2,-\sqrt2 ~ x=\pm\sqrt2
-\frac12 ~ \frac{1}{-2} ~ \frac{-1}{2} ~ -0.5
-1.5 ~ -1\frac{1}{2} ~ -1 1/2
\sin(x+y) ~ \sin{x+y} ~ \sin(y+x) ~ \sin{(x+y)}
\sin^2 x ~ \sin^2{x} ~ \sin^{2}(x) ~ {(\sin x)}^2
\hat{x} ~ \hat x ~ $\hat{x}$
\mathbb{Z} ~ \mathbb Z ~ ℤ
\frac13 ~ 33\frac{1}{3}\% ~ \frac{0.5}{1.5}
6.02 \times 10^{23} ~ 6.02e23 ~ 6.02·10²³
1234.5 ~ \$1,234.50 ~ 1,234.5
60 \text{ miles/hour} ~ 60 \text{ miles per hour} ~ 60
\frac{\pi}{6} ~ \frac{\pi}{6} \text{ radians}
\text{Monday, Tuesday} ~ \text{Tuesday and Monday}
-2 ~ -2. ~ −2 ~ x = -2 ~ (-2) ~ {-2}
10 ~ 1×10 ~ 20÷2 ~ 2·5 ~ 10.0 ~ {10}
2\sqrt{2} ~ \sqrt8 ~ \sqrt{8} ~ 2√2 ~ 8^{1/2} ~ \frac{4}{\sqrt2}
[0,1] ~ 0 \leq x \leq 1 ~ 0≤x≤1 ~ x\in[0,1]
\{1,2,3\} ~ 3,2,1 ~ \left\{ 1, 2, 3 \right\} ~ 1, 2 \text{ and } 3
""")
# answers that are wrong
DIFFERENT = table(r"""
6 ~ x<=6 ~ x!=6 ~ x\le 6 ~ x<6 ~ x\approx 6
x<=6 ~ 6
\frac{21}{3} ~ 2 1/3
7 ~ 2 1/3 ~ 7\sqrt(5)
\frac23 ~ 2 1/3 ~ 2:3
35 ~ 3 5
15 ~ 3 5 ~ \pm 15 ~ \sum_{i=1}^{5} i
8 ~ 3 5
3 ~ 3 5 ~ 3 \text{ or } 5 ~ 3 or 5 ~ 3, maybe 5 ~ either 3 or 5 ~ \text{either } 3 \text{ or } 5
3 ~ 3 \text{ or } 4 \text{ or } 5 ~ 3 (or 5) ~ 3 \text{ (or 5)} ~ 3 \lor 5 ~ 3;5 ~ 3 / 5 ~ 3 | 5
3 ~ 3 \quad 5 ~ 3?5
3 ~ 3 and 5 ~ maybe 3 ~ not 3 ~ \neg 3 ~ \text{not } 3 ~ 3 or five ~ 3 \text{ or something else}
3 ~ 3 \text{ versus } 5
3 ~ 3 \text{ not } 5 ~ 3=5 ~ 4=3 ~ x \text{ is not equal to } 3 ~ \text{not } x=3
3 ~ 3 \text{ million}
3 ~ 3 \text{ hundred} ~ 3 \text{ dozen} ~ 3 \text{ thousand dollars} ~ 3 \text{ or more}
3 ~ 3 \text{ at least}
3 ~ 3 \pmod 5 ~ 3 \bmod 5 ~ x \equiv 3 \pmod 5 ~ 3- ~ + ~ 3+ ~ ((3 ~ 3) ~ x \to 3 ~ x \sim 3
3 ~ \sim 3 ~ \propto 3
3 ~ \ne 3 ~ \le 3 ~ =3= ~ 3 \perp 5 ~ 3 \mid 5 ~ 3 \parallel 5 ~ \text{3 or 5} ~ \mathrm{3 or 5}
3 ~ \boxed{3} 5
3 ~ 3\text{ if } x>0 ~ 3, x>0 ~ \{3\}, \{5\} ~ 3 \in \mathbb{Z} ~ 3 \text{ no} ~ -3 ~ |3|x
3 ~ 3_{or 5} ~ 3^{or 5}
3 ~ \overline{3} ~ \underline{3} ~ \cancel{3} ~ \not 3 ~ \substack{3\\5} ~ 3\\5 ~ 3 & 5 ~ 3 \# 5
3 ~ 3\_5 ~ <3 ~ >3
3 ~ 3\text{ below zero} ~ 3 \text{ negative} ~ 3 \text{ squared} ~ 3 \text{ tenths}
3 ~ 3 \text{ dozens}
3 ~ 3 \text{ millions} ~ 3 \text{ factorial} ~ ,3 ~ 3,,5
P \rightarrow Q ~ P \leftarrow Q
P \Leftarrow Q ~ P \Rightarrow Q
P \Leftrightarrow Q ~ P \Rightarrow Q
5 ~ 3 \text{ or } 5 ~ 3=5 ~ x=3=5 ~ x+2=5 ~ 3 \pm 2 ~ \sqrt5 ~ 5! ~ \phantom{3}5 ~ 5AB ~ 5... ~ [5]
9 ~ x^2=9
\text{ Tuesday} ~ \text{ Friday}
\text{Tuesday} ~ \text{Friday}
silent ~ listen
\text{silent} ~ \text{listen}
seat ~ east
no ~ yes
\text{Navin} ~ \text{Evelyn}
\text{(C)} ~ \text{(B)}
C ~ B
A ~ \text{A or B} ~ A, B
132_7 ~ 132_5
132 ~ 132_5
42 ~ 132_5
204 ~ 204_5
\frac{1}{3^{71}} ~ \frac{1}{3^{70}}
\frac{1}{10^{21}} ~ \frac{1}{10^{20}}
0 ~ 10^{-30} ~ 0.0000001 ~ A-a
0.0000002 ~ 0.0000001
1 ~ 1.0000001 ~ 1\% ~ 1,000 ~ \frac{1}{} ~ 1e
10^{-21}x ~ 10^{-20}x
x ~ x+10^{-40} ~ x_1 ~ x1 ~ x^T ~ x' ~ \bar{x}
10^{300} ~ 10^{300}+1
\sqrt2 ~ \sqrt2+10^{-60} ~ 1.41421356
\frac13 ~ 0.333 ~ 0.333333 ~ 0.3
\pi ~ 3.14 ~ 3.14159265 ~ \frac{22}{7}
0.5 ~ 0.5\% ~ 5\%
50.5 ~ 50\%
3\text{ m} ~ 3\text{ km}
3 \text{ cm}^2 ~ 3 \text{ cm}
3 \text{ oranges} ~ 3 \text{ apples}
5 \text{ cents} ~ \$5
€5 ~ \$5
11:30 ~ 2:30
1:15 ~ 2:30
4:6 ~ 2:3
\pm 15 ~ 15
27, 64 ~ 27 ~ 27, 64, 125 ~ 27, 27 ~ (27, 64)
27 ~ 27,64
(27,64) ~ 27, 64
(1,2) ~ (2,1) ~ [1,2] ~ (1,2] ~ (1,2)\cup(3,4)
\{1,2\} ~ (1,2)
[1,2) ~ (1,2]
(7,\infty) ~ [7,\infty)
(1,2)\cap(3,4) ~ (1,2)\cup(3,4)
k=4,5,6 ~ k=3,4,5
x=2, y=1 ~ x=1, y=2
x=1,y=2 ~ 2,1
y=5 ~ x=5
y<4 ~ x<4
x>4 ~ x<4
x\le 4 ~ x<4
(-\infty,4] ~ x<4
(-\infty,4) ~ 4<x
(-\infty,1)\cup(3,\infty) ~ x<1 \text{ and } x>3
x<1 \text{ and } x>3 ~ x<1 \text{ or } x>3
5x-7y+4=0 ~ 5x+2y+9=0
y=y+2 ~ x=x+1
0=2 ~ 0=1
y=2x+1 ~ y=2x
\begin{pmatrix}4\\9\end{pmatrix} ~ \begin{pmatrix}4&9\end{pmatrix}
(4,9) ~ \begin{pmatrix}4\\9\end{pmatrix}
\begin{pmatrix}4&9\\1&1\end{pmatrix} ~ \begin{vmatrix}4&9\\1&1\end{vmatrix}
\begin{pmatrix}2\\1\end{pmatrix} ~ \begin{pmatrix}1\\2\end{pmatrix}
\sqrt5 ~ \sqrt[3]{5}
x_2 ~ x_1
x2 ~ x1
a_1 ~ A_1
a ~ A
2 ~ 2^T ~ \gcd(4,6)
f(x) ~ f'(x)
AB ~ \overline{AB}
v ~ \vec{v}
i ~ \hat{i}
120! ~ 5!!
3 \pmod 7 ~ 3 \pmod 5
\frac{2}{0} ~ \frac{1}{0}
\frac{2}{1-1} ~ \frac{1}{1-1}
-\infty ~ \infty
\gamma ~ \Gamma
\ln 2 ~ \log 2
\cos x ~ \sin x
\sin 30 ~ \sin 30^\circ
x^3 ~ x^2
x-1 ~ x+1
12 ~ 12,345
345 ~ 12,345
4 ~ }{ ~ \text{} ~ {} ~ ... ~ \ldots ~ ? ~ -
\frac12 ~ \frac{1}{2
\frac{1}{2x} ~ 1/2x
E ~ e
20000 ~ 2e4x
n ~ n \in \mathbb{Z}
2\pi n ~ 2\pi n, n \in \mathbb{Z}
0.6 ~ 0.\overline{6} ~ 0.6\overline{6}
0.66 ~ 0.\overline{6}
3.5 ~ 3.5.2
1.23 ~ 1.2.3
9^{9^{8}} ~ 9^{9^{9}}
2^{100} ~ 2^{100}+1
b(a) ~ a(b)
f(3) ~ f(2)
\max(1,3) ~ \max(1,2)
2x ~ \frac{d}{dx} x^2
BA ~ AB
ACB ~ ABC
ABC ~ CAB
0.333 ~ 0.333... ~ 0.333\ldots
5^\circ F ~ 5^\circ C
\mathbb{R} ~ \mathbb{R}^2 ~ \mathbb{Z}
(2,1) ~ (x,y)=(1,2)
(y,x)=(1,2) ~ (x,y)=(1,2)
9:30 \text{ p.m.} ~ 9:30 \text{ a.m.}
k\pi ~ k\pi, k\in\mathbb{Z}
0 ~ 1{0} ~ \emptyset ~ 10^{-30} ~ 0.0000001 ~ x ~ \text{none}
(1,2) ~ 1,2 ~ 2,1 ~ [1,2) ~ (1,2,3) ~ (1,3) ~ \{1,2\} ~ \begin{pmatrix}1\\2\end{pmatrix}
\{1,2\} ~ \{1\} ~ \{1,3\} ~ [1,2] ~ \{\{1,2\}\}, 1
1, 2 ~ 1 2 ~ 1 & 2 ~ 12 ~ 1/2 ~ 1.2
\frac32 ~ 1.4 ~ \frac{11}{2} ~ 1 1/3 ~ \frac23
\frac{11}{2} ~ 1 1/2 ~ 1\frac12
1.5 ~ 1,5 ~ 1.50001 ~ 15
\text{A} ~ \text{B} ~ \text{A and B} ~ A/B ~ \text{not A} ~ \text{A?B}
\text{even} ~ \text{odd} ~ \text{even or odd} ~ \text{not even} ~ \text{even/odd} ~ \text{neven}
\text{Evelyn} ~ \text{Evelyn or Navin} ~ \text{Evelyn, Navin} ~ \text{Evelyn Navin}
\text{Evelyn} ~ \text{not Evelyn}
\pm 2 ~ 2 ~ -2 ~ \mp 2 ~ \pm 3
x^2 ~ x^3 ~ 2x ~ x_2 ~ y^2 ~ x^{2y}
\sqrt{x^2} ~ x ~ -x
f(y) ~ f(x) ~ f
\overline{x+y} ~ \overline{x}+y ~ \overline{x}+\overline{y} ~ x+y
\vec{a}+b ~ \vec{a+b} ~ a+b
\sin x+y ~ \sin{x+y} ~ \sin(x+y)
a+b^2 ~ (a+b)^2 ~ a^2+b^2
132_7 ~ 132_{\text{five}} ~ 132\textsubscript{7} ~ 132 \text{ base } 7 ~ 132 \text{ (base seven)}
132_7 ~ 1327
10.1_2 ~ 10.1 ~ 10.1_3 ~ 2.5
3.14 ~ \pi ~ 3.141 ~ \frac{22}{7}
\sin x ~ \cos x ~ \sin y ~ \sin 2x ~ \sin x \cdot 2
\frac{2}{3} ~ 0.66 ~ 0.667 ~ 0.666666666666 ~ 0.\overline{67} ~ 2:3 ~ \frac{3}{2}
3\% ~ 4\% ~ 0.3 ~ \frac{3}{10}
11_2 ~ 3 ~ 11 ~ 11_3 ~ 10_2 ~ 11_{10}
x>2 ~ x\ge2 ~ x<2 ~ x=2 ~ 2 ~ y>2 ~ [2,\infty) ~ (-\infty,2)
a \to b ~ a \leftarrow b ~ b \to a ~ a \Rightarrow b ~ ab
""")


@pytest.mark.parametrize("pairs, expected", [(SAME, True), (DIFFERENT, False)], ids=["same", "different"])
def test_the_robust_rule(pairs, expected):
    wrong = [(a, t) for a, t in pairs if equivalent(a, t) != expected or equivalent(t, a) != expected]
    assert not wrong


@pytest.mark.parametrize("blank", ["", " ", "{}", r"\text{}", r"\,", "...", "-", "?", "}{", "((", r"\frac{1}{2"])
def test_what_is_no_answer_equals_nothing(blank):
    assert not any(equivalent(blank, t) or equivalent(t, blank) for t in ("4", "", "x", r"\frac12"))


# the paper rule: normal forms by the authors' code (dynamic-reward-weighting, verl/utils/reward_score/math.py),
# None where it raises
PAPER = [
    ('\\frac12', '\\frac{1}{2}'), ('\\frac1{72}', '\\frac{1}{72}'), ('\\frac{7}2', '\\frac{7}2'),
    ('\\frac1', '\\frac1'), ('\\frac', None), ('\\frac1\\frac23', '\\frac1\\frac23'),
    ('\\frac\\frac12', None),
    ('\\sqrt3', '\\sqrt{3}'), ('\\sqrt 3', '\\sqrt{}3'), ('\\sqrt12', '\\sqrt{1}2'),
    ('\\sqrt', None),
    ('\\sqrt\\sqrt3', None), ('\\tfrac34+\\dfrac12', '\\frac{3}{4}+\\frac{1}{2}'),
    ('3\\text{ cm}', '3'),
    ('3 \\text{ or } 5', '3'), ('3\\text{ or }4\\text{ or }5', None),
    ('3\\text{cm}', '3\\text{cm}'),
    (' .5', '\\frac{1}{2}'), ('{.5}', '{0.5}'), ('.5', '\\frac{1}{2}'), ('0.5', '\\frac{1}{2}'),
    ('0.50', '0.50'),
    ('-0.5', '-0.5'), ('1/2', '\\frac{1}{2}'), ('-1/2', '\\frac{-1}{2}'), ('1/-2', '\\frac{1}{-2}'),
    ('01/2', '01/2'),
    ('+1/2', '+1/2'), ('1/2/3', '1/2/3'), ('1/ 2', '\\frac{1}{2}'), ('x=5', '5'), ('xy=5', '5'),
    ('xyz=5', 'xyz=5'),
    ('x=y=5', 'x=y=5'), ('=5', '5'), ('f(x)=5', 'f(x)=5'), ('50\\%', '50'), ('50%', '50%'),
    ('\\$5', '5'),
    ('$5', '$5'), ('90^\\circ', '90'), ('90^{\\circ}', '90'), ('90^\\circ C', '90C'),
    ('\\left(1,2\\right)', '(1,2)'),
    ('\\left.x\\right|', '0.x|'), ('a\\\\b', 'a\\b'), ('a\nb', 'ab'), ('1\\!2', '12'),
    ('a b  c', 'abc'), ('', ''),
    ('٣/٤', '٣/٤'), ('10/3', '\\frac{10}{3}'), ('\\frac{1}{2}', '\\frac{1}{2}'),
    ('\\frac a b', '\\frac{a}{b}'),
    ('\\frac ab', '\\frac{a}{b}'), ('\\frac{a}b', '\\frac{a}b'), ('1_0/3', '1_0/3'), ('5.', '5.'),
    ('007', '007'),
    ('\\leftarrow', 'arrow'), ('\\rightarrow', 'arrow'),
]


def test_the_paper_rule():
    wrong = [(a, normalise_answer(a)) for a, form in PAPER if normalise_answer(a) != form]
    assert not wrong


@pytest.mark.parametrize("answer", [r"\text{ Friday}", r"\text{ cm}3", r"\%", r"\left\right", "x=", r"^\circ"])
def test_an_answer_of_which_nothing_is_left(answer):
    "The authors' code finds all of these equal to each other; here they are equal to themselves."
    assert normalise_answer(answer) is None and same_answer(answer, answer)
    assert not same_answer(answer, "") and not same_answer(answer, r"\text{ Tuesday}")


PIECEWISE = r"\left\{\begin{array}{ll} x & x>1 \\ 1 & x\le 1\end{array}\right."
BOXES = [  # text, content by the paper rule, content by the robust rule
    (r"a \boxed{3} b", "3", "3"),
    (r"\boxed{\boxed{3}}", "3", "3"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", r"\frac{1}{2}"),
    (r"\boxed{3} \boxed{4", None, None),
    (r"\boxed{", None, None),
    (r"\boxed", None, ""),
    ("", None, None),
    (r"\boxed{}", "", ""),
    (r"\boxed{12} as in \boxed{}", "", "12"),
    (r"\boxed{12}, see \boxed{...}", "...", "12"),
    (r"$\boxed{12}$ in a \boxed environment", "environment", "12"),
    (r"in a \boxed environment: $\boxed{12}$", "environment: ", "12"),
    (r"\fbox{19}", None, "19"),
    (r"\fbox{18}, \boxed{19}", "19", "18, 19"),
    (r"\boxed {19}", "{19}", "19"),
    ("\\boxed\n{19}", None, "19"),
    (r"\boxed 19$ is", "19", "19"),
    (r"\(\boxed 19\) is", r"19\) is", "19"),
    (r"\boxed 19 is", "19 is", "19"),
    (r"\boxed19", None, "19"),
    (r"\boxedx{19}", None, None),
    (rf"\boxed{{{PIECEWISE}}}", None, PIECEWISE),
    (r"\boxed{\}}", "\\", r"\}"),
    (r"\boxed{a\\{b}}", r"a\\{b}", r"a\\{b}"),
    (r"\boxed{4}, \boxed{6} and \boxed{9}", "9", "4, 6, 9"),
    (r"$\boxed{4} \text{ or } \boxed{6}$", "6", r"4 \text{ or } 6"),
    (r"\boxed{4} is wrong, \boxed{6}", "6", "6"),
    ("\\boxed{36}\n\n\\boxed{36}", "36", "36"),
    (r"\boxed{36}, \boxed{36}", "36", "36"),
]


@pytest.mark.parametrize("text, paper, robust", BOXES)
def test_the_box(text, paper, robust):
    assert (last_boxed(text, "paper"), last_boxed(text, "robust")) == (paper, robust)
    assert last_boxed(text) == (robust if paper is None else paper)


def test_a_piecewise_answer_is_right():
    truth = r"\begin{cases} x & x > 1 \\ 1 & x \leq 1 \end{cases}"
    assert AccuracyReward("robust")([rf"f is $\boxed{{{PIECEWISE}}}$"], answer=[truth]) == [1]


HOSTILE = [
    r"\boxed{", r"\boxed{}", r"\boxed ", r"\fbox{", "{", "}", r"\{", r"\text{ ", r"\text{",
    r"\frac", r"\sqrt",
    r"\frac1", "1,234", "1 ", "1 1/1 ", "0.", "step ", "step", " step1", "(1", "- ", " -", "\n",
    " ", "first", "1e1",
    "½", "²", r"\left", r"\begin{array}{l", "$", "x=", r"\boxed{a},",
]
SCORES = {
    "paper box": functools.partial(last_boxed, rule="paper"),
    "box": functools.partial(last_boxed, rule="robust"),
    "normal form": normalise_answer, "clear": is_clear, "markers": step_markers,
}


@pytest.mark.parametrize("bit", HOSTILE)
@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_time_is_linear(score, bit):
    "Processor time for eight times the text: eight times as much, where a quadratic rule takes 64 times."
    def spent(length):
        text = bit * (length // len(bit))
        start = time.process_time()
        score(text)
        return time.process_time() - start
    ratio = min(spent(160_000) / max(spent(20_000), 2e-3) for _ in range(3))
    assert ratio < 28


@pytest.mark.parametrize("bit", HOSTILE[:-1])
def test_a_long_answer_is_wrong_at_once(bit, monkeypatch):
    monkeypatch.setattr("mora.answers._verdict", None)  # nobody is asked
    assert AccuracyReward("robust")([r"\boxed{" + 20_000 * bit + "}"], answer=["4"]) == [0]


# the judge


@pytest.fixture
def judge():
    made = _Judge()
    yield made
    made.stop()


class Interrupted:
    "A pipe whose first use is interrupted, for reading or after half of the writing."
    def __init__(self, pipe):
        self.pipe, self.done = pipe, False

    def __getattr__(self, name):
        return getattr(self.pipe, name)

    def readline(self):
        if not self.done:
            self.done = True
            raise KeyboardInterrupt
        return self.pipe.readline()

    def write(self, line):
        if not self.done:
            self.done = True
            self.pipe.write(line[: len(line) // 2])
            raise KeyboardInterrupt
        return self.pipe.write(line)


@pytest.mark.parametrize("pipe", ["stdin", "stdout"])
def test_an_interrupted_question_leaves_no_verdict_behind(judge, pipe):
    assert judge.ask("x+1", "1+x", 30.)
    setattr(judge.process, pipe, Interrupted(getattr(judge.process, pipe)))
    with pytest.raises(KeyboardInterrupt):
        judge.ask("x+2", "2+x", 30.)  # True
    pid = judge.process.pid
    questions = [("x+3", "x+4"), ("x+4", "4+x"), ("x", "y"), ("y", "y+0")]
    assert [judge.ask(a, t, 30.) for a, t in questions] == [False, True, False, True]
    assert judge.process.pid == pid


def test_an_interruption_is_not_remembered():
    equivalent("x+1", "1+x", 30.)
    _judge.process.stdout = Interrupted(_judge.process.stdout)
    with pytest.raises(KeyboardInterrupt):
        equivalent("x+77", "77+x", 30.)
    assert equivalent("x+77", "77+x", 30.)


def serving(judge):
    "The process that answers: a child of the judge's."
    return psutil.Process(judge.process.pid).children()


def test_killed_from_outside(judge):
    assert judge.ask("x+1", "1+x", 30.)
    for process in (serving(judge)[0], psutil.Process(judge.process.pid)):
        process.kill()
        assert judge.ask("x+1", "1+x", 30.)


def test_killed_twice_on_a_question_is_no_verdict():
    equivalent("x+1", "1+x", 30.)
    asked, seen, verdicts = _verdict.cache_info(), set(), []
    asking = threading.Thread(target=lambda: verdicts.append(equivalent(ENDLESS, "123", 300.)))
    asking.start()
    while asking.is_alive():
        for child in serving(_judge):
            if child.pid not in seen and child.cpu_times().user > 0.2:  # at work
                seen.add(child.pid)
                child.kill()
        asking.join(0.02)
    assert len(seen) == 2 and verdicts == [False] and _verdict.cache_info().currsize == asked.currsize


def test_a_hundred_questions_that_run_out_of_time(judge):
    "No process is left, no descriptor, and nothing is loaded again."
    assert judge.ask("x+1", "1+x", 30.)
    us, server = psutil.Process(), psutil.Process(judge.process.pid)
    before = us.num_fds(), server.num_fds(), len(us.children(recursive=True))
    assert [judge.ask(ENDLESS, str(i), 0.02) for i in range(100)] == [False] * 100
    assert judge.ask("x+1", "1+x", 30.)
    assert judge.process.pid == server.pid
    assert (us.num_fds(), server.num_fds(), len(us.children(recursive=True))) == before
    assert not [p for p in us.children(recursive=True) if p.status() == psutil.STATUS_ZOMBIE]


def test_many_threads_each_get_their_own_verdict():
    verdicts = {}
    def ask(i):
        verdicts[i] = [equivalent(f"x+{i}", f"{i}+x", 60.), equivalent(f"x+{i}", f"{i+1}+x", 60.)]
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {i: [True, False] for i in range(16)}


def test_from_an_event_loop():
    async def ask(i):
        return await asyncio.to_thread(equivalent, f"y+{i}", f"{i}+y", 60.)
    async def main():
        return await asyncio.gather(*map(ask, range(4)))
    assert asyncio.run(main()) == [True] * 4


def run_script(text):
    "Standard output of a script in a process of its own."
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


FORK = """
import os, threading
from mora.answers import _judge, equivalent
assert equivalent('x+1', '1+x', 60.)
held, go_on = threading.Event(), threading.Event()
def hold():
    with _judge.lock:
        held.set()
        go_on.wait()
other = threading.Thread(target=hold)
other.start()
held.wait()
pid, fds = _judge.process.pid, [_judge.process.stdin.fileno(), _judge.process.stdout.fileno()]
child = os.fork()
if child==0: # another thread of the parent holds the lock
    closed = [not os.path.exists(f'/proc/self/fd/{fd}') for fd in fds]
    right = equivalent('x+2', '2+x', 60.) and _judge.process.pid!=pid and (all(closed) or not os.path.exists('/proc'))
    _judge.stop()
    os._exit(0 if right else 1)
go_on.set()
assert os.waitpid(child, 0)[1]==0
assert equivalent('x+3', '3+x', 60.) and _judge.process.pid==pid
"""


def test_a_forked_process_has_a_judge_of_its_own():
    run_script(FORK)


ENDS = {"return": "pass", "kill": "os.kill(os.getpid(), signal.SIGKILL)", "exit": "os._exit(0)"}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_judge_ends_with_its_process(end):
    script = f"""
import os, psutil, signal
from mora.answers import _judge, equivalent
equivalent('x+1', '1+x', 60.)
print(*[p.pid for p in psutil.Process().children(recursive=True)], flush=True)
{end}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    assert not psutil.wait_procs(left, timeout=120)[1]


def test_an_interrupt_from_the_keyboard_is_for_us(judge):
    judge.ask("x+1", "1+x", 30.)
    assert {os.getpgid(p.pid) for p in (judge.process, *serving(judge))} == {judge.process.pid} != {os.getpgid(0)}


def test_a_judge_that_cannot_start_says_so(judge, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(RuntimeError, match="math-verify does not load"):
        judge.ask("x+1", "1+x", 30.)
    assert judge.process is None


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf"), None, "5", True, [], 1e300])
def test_time_limits(limit):
    with pytest.raises(ConfigError, match="^time_limit: got"):
        AccuracyReward("robust", time_limit=limit)
    with pytest.raises(ConfigError, match="^time_limit: got"):
        equivalent("x+1", "1+x", limit)


# completions

RIGHT = r"1. Add. 2. Double. \boxed{4}"


def message(content, role="assistant", **more):
    return dict(role=role, content=content, **more)


SPOKEN = {
    "text": RIGHT,
    "numpy text": np.str_(RIGHT),
    "message": [message(RIGHT)],
    "tuple": (message(RIGHT),),
    "parts": [message([dict(type="text", text=RIGHT[:7]), dict(type="image_url"),
    dict(type="text", text=RIGHT[7:])])],
    "tool at the end": [message(None), message("3", "tool"), message(RIGHT),
        message(r"\boxed{5}", "tool")],
    "several": [message(r"\boxed{5}"), message("go on", "user"), message(RIGHT)],
}
SILENT = {
    "empty": "",
    "no message": [],
    "no content": [message(None)],
    "content missing": [dict(role="assistant")],
    "no part": [message([])],
    "image": [message([dict(type="image")])],
    "call at the end": [message(RIGHT), message("3", "tool"), message(None)],
}
FOREIGN = [
    None, 4, 4.5, b"4", {}, object(), message(RIGHT), [RIGHT], [None], [message(RIGHT, "tool")],
    [message(RIGHT, "user")], [message(4)], [message({})], [message([RIGHT])],
    [message([dict(type="text")])],
    [message([dict(text=RIGHT)])], [message([dict(type="text", text=None)])],
]
TEXT_REWARDS = [
    AccuracyReward(), AccuracyReward("robust"), ClarityReward(), GradedClarity(), GatedClarity(),
    GatedConciseness(),
    OpposedConciseness(),
]
LENGTH_REWARDS = [ConcisenessReward(), MovingConciseness(), TargetConciseness(), GradedConciseness()]


def named(reward):
    return type(reward).__name__


@pytest.mark.parametrize("reward", TEXT_REWARDS, ids=named)
def test_completions(reward):
    def score(completions):
        return reward(completions, completion_ids=[[0]] * len(completions), answer=["4"] * len(completions))
    assert score([]) == []
    same = score(list(SPOKEN.values()))
    assert len(set(same)) == 1 and same == score([RIGHT] * len(SPOKEN))
    assert score(list(SILENT.values())) == score([""] * len(SILENT))
    for completion in FOREIGN:
        with pytest.raises(ConfigError, match="^completions: got") as error:
            score([RIGHT, completion])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("reward", TEXT_REWARDS + LENGTH_REWARDS, ids=named)
@pytest.mark.parametrize("completions", [RIGHT, None, 4, message(RIGHT), b"4"], ids=str)
def test_completions_that_are_no_list(reward, completions):
    with pytest.raises(ConfigError, match="^completions: got"):
        reward(completions, completion_ids=[[0]], answer=["4"])


def test_a_batch_in_an_error_is_cut():
    with pytest.raises(ConfigError) as error:
        ClarityReward()([[message(10_000 * "x", "user")]])
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("reward", TEXT_REWARDS + LENGTH_REWARDS, ids=named)
@pytest.mark.parametrize("make", [list, np.array], ids=["list", "numpy"])
@pytest.mark.parametrize("tokens", [lambda n: [0] * n, torch.zeros, np.zeros], ids=["lists", "tensors", "arrays"])
def test_scores_are_plain_numbers(reward, make, tokens):
    scores = reward(make([RIGHT, "none"]), completion_ids=[tokens(3), tokens(90)], answer=make(["4", "4"]))
    assert type(scores) is list and {type(s) for s in scores} <= {float, type(None)}


@pytest.mark.parametrize("reward", LENGTH_REWARDS + [GatedConciseness()], ids=named)
@pytest.mark.parametrize("ids", [None, 1, [1], [[1], [2]], [], torch.tensor(3)], ids=str)
def test_token_ids(reward, ids):
    with pytest.raises(ConfigError, match="^completion_ids: got"):
        reward([RIGHT], completion_ids=ids, answer=["4"])


BY_COLUMN = [
    AccuracyReward(), AccuracyReward(column="solution"), GatedClarity(), GatedConciseness(),
    OpposedConciseness(),
]


@pytest.mark.parametrize("reward", BY_COLUMN, ids=named)
def test_a_missing_column_is_named(reward):
    before = getattr(reward, "count", None)
    message = "^column: got '(answer|solution)', expected a column of the data set: one of target$"
    with pytest.raises(ConfigError, match=message):
        reward([RIGHT], completion_ids=[[1]], target=["4"], prompts=["?"], trainer_state=None)
    assert getattr(reward, "count", None) == before


NO_TRUTHS = [["4"], ("4",), {"a": 4}, b"4", 4j, np.array([4]), torch.tensor([4]), object()]


@pytest.mark.parametrize("truth", NO_TRUTHS, ids=lambda value: type(value).__name__)
def test_truths_that_are_no_answer(truth):
    for rule in ("paper", "robust"):
        with pytest.raises(ConfigError, match="^answer: got"):
            AccuracyReward(rule)([RIGHT], answer=[truth])


# recipes


@pytest.fixture
def modules(tmp_path, monkeypatch):
    "Modules that a recipe may name."
    texts = dict(
        fine="""
import functools, subprocess, threading
from subprocess import Popen
def polite(completions, word='please', **columns): return [float(word in c) for c in completions]
def anything(**everything): return [1.]*len(everything['completions'])
def factory(word): return functools.partial(polite, word=word)
async def judge(completions, **columns): return [1.]*len(completions)
class Kept:
    def __init__(self, start=0): self.seen = [start]
    def __call__(self, completions, **columns):
        self.seen.append(len(completions))
        return [float(len(self.seen))]*len(completions)
class Broken(Kept):
    def __init__(self): raise ValueError('two\\nlines')
class Exits(Kept):
    def __init__(self): raise SystemExit(3)
class Locked(Kept):
    def __init__(self): self.lock = threading.Lock()
class Silent: pass
kept, locked, thanks = Kept(), Locked(), functools.partial(polite, word='thanks')
method, number = kept.__call__, 4
""",
        exits="import sys; sys.exit(0)",
        raises="raise KeyError('no such\\nthing')",
        syntax="def f(:",
        interrupts="raise KeyboardInterrupt",
    )
    for name, text in texts.items():
        (tmp_path / f"named_{name}.py").write_text(text)
        sys.modules.pop(f"named_{name}", None)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FINE = [  # what a recipe says, scores of two completions
    ("named_fine:polite", [1, 0]),
    ({"named_fine:polite": None}, [1, 0]),
    ({"named_fine:polite": {"word": "thanks"}}, [0, 1]),
    ({"named_fine:thanks": {"word": "please"}}, [1, 0]),
    ("named_fine:thanks", [0, 1]),
    ("named_fine:anything", [1, 1]),
    ("named_fine:kept", [2, 2]),
    ("named_fine:method", [2, 2]),
    ("named_fine:Kept", [2, 2]),
    ({"named_fine:Kept": {"start": 5}}, [2, 2]),
    ("mora.rewards:ClarityReward", [0, 0]),
    ({"clarity": {}}, [0, 0]),
]


@pytest.mark.parametrize("said, scores", FINE, ids=str)
def test_recipes(modules, said, scores):
    for _ in range(2):  # the second run starts as the first
        assert find_reward(said)(completions=["please", "thanks"], prompts=["", ""]) == scores


def test_a_reward_of_trl_by_name():
    assert objective_of(find_reward("trl.rewards:think_format_reward")).name == "think_format_reward"


def test_an_asynchronous_reward_by_name(modules):
    assert asyncio.run(find_reward("named_fine:judge")(completions=["", ""])) == [1, 1]


RUN = {"args": "touch ran", "shell": True}
REFUSED = [
    None, 4, "", [], {}, ["accuracy"], {4: {}}, {"accuracy": {}, "clarity": {}},
    "acuracy", "accuracy:", "accuracy ", ":", ":x", "..:x", ".:x", "a\0b:x", "no_such_module:x",
    "named_fine", "named_fine:", "named_fine:nothing", "named_fine:polite:x", "named_exits:x",
    "named_raises:x",
    "named_syntax:x", "named_fine:number", "named_fine:Silent", "named_fine:Broken",
    "named_fine:Exits",
    "named_fine:locked", "named_fine:factory", "named_fine:subprocess", "named_fine:Popen",
    "os:getpid", "builtins:print", "antigravity:x",
    {"named_fine:factory": {"word": "x"}}, {"named_fine:anything": {"x": 1}},
    {"named_fine:kept": {"start": 1}},
    {"named_fine:polite": {"wrod": "x"}}, {"named_fine:polite": {"completions": []}},
    {"named_fine:polite": {"columns": 1}}, {"named_fine:Kept": {"end": 1}},
    {"accuracy": 5}, {"accuracy": "robust"}, {"accuracy": {1: 2}}, {"accuracy": {"rules": "x"}},
    {"named_fine:Popen": RUN}, {"subprocess:Popen": RUN}, {"subprocess:run": RUN},
    {"os:system": {"command": "touch ran"}}, {"builtins:exec": {"source": "open('ran', 'w')"}},
]


@pytest.mark.parametrize("said", REFUSED, ids=lambda said: repr(said)[:60])
def test_recipes_that_are_refused(modules, said):
    with pytest.raises(ConfigError, match="^rewards: got") as error:
        find_reward(said)
    assert "\n" not in str(error.value) and repr(said) in str(error.value)
    assert not (modules / "ran").exists()


def test_the_closest_name_is_suggested():
    with pytest.raises(ConfigError, match=re.escape("(closest: conciseness)")):
        find_reward("concisenes")


def test_an_interrupt_is_not_an_error_of_the_recipe(modules):
    with pytest.raises(KeyboardInterrupt):
        find_reward("named_interrupts:x")


OPTIONS = [("rule", "exact"), ("rule", []), ("column", None), ("column", 4), ("time_limit", "x")]


@pytest.mark.parametrize("option, value", OPTIONS)
def test_an_option_of_a_wrong_value_is_named(option, value):
    with pytest.raises(ConfigError, match=f"^{option}: got"):
        find_reward({"accuracy": {option: value}})


# names


class Judge:
    async def __call__(self, completions, **columns): ...


class Numbered(Judge):
    __name__ = 7


def reward_model(path):
    model = torch.nn.Linear(1, 1)
    model.config = type("Config", (), dict(_name_or_path=path))()
    return model


def politeness(completions, **columns): ...


NAMED = [
    politeness, functools.partial(politeness),
    functools.partial(functools.partial(politeness, a=1), b=2), print,
    lambda completions: None, Judge, Judge(), Judge().__call__, functools.partial(Judge()),
    AccuracyReward(),
    ConcisenessReward(), reward_model("org/rm-1"), reward_model("rm-1"),
    reward_model("/models/rm-1"),
]


@pytest.mark.parametrize("reward", NAMED, ids=lambda r: objective_of(r).name)
def test_names_are_those_in_the_logs_of_trl(reward):
    from trl.trainer.utils import get_callable_name, get_config_model_id
    by_trl = get_callable_name(reward)
    if isinstance(reward, torch.nn.Module):
        by_trl = get_config_model_id(reward.config).split("/")[-1]
    assert objective_of(reward).name == by_trl


NAMES = [
    ("org/rm-1", "rm-1"), ("rm-1", "rm-1"), ("models/rm-1/", "rm-1"), ("/a/b/rm-1//", "rm-1"),
    (Numbered(), "Numbered"),
    (torch.nn.Linear(1, 1), "Linear"), (reward_model(""), "Linear"),
    (reward_model("org/rm-1/"), "rm-1"),
]


@pytest.mark.parametrize("reward, name", NAMES, ids=lambda value: value if isinstance(value, str)
    else type(value).__name__)
def test_names_where_trl_has_none(reward, name):
    assert objective_of(reward).name == name


@pytest.mark.parametrize("objective", ["politeness", None, 4, dict(name="x"), Objective])
def test_an_objective_of_a_wrong_kind(objective):
    reward = Judge()
    reward.objective = objective
    for form in (reward, functools.partial(reward)):
        with pytest.raises(ConfigError, match="^objective: got"):
            objective_of(form)


def test_rewards_are_imported_without_trl_and_torch():
    heavy = {"trl", "torch", "transformers", "sympy", "math_verify"}
    run_script(f"import sys, mora.rewards; assert not {heavy} & set(sys.modules)")
