"""Minimax polynomials, lowest power first; split constants, greatest first.

Printed by tests/exhaustive/fit_polynomials.py, not edited by hand.
"""

from __future__ import annotations


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, text.split()))


# log 2
LN2_32 = _numbers("0x1.62e430p-1 -0x1.05c610p-29")

# log 2; an exponent times the first is exact
LN2_SHORT_32 = _numbers("0x1.62e400p-1 0x1.7f7d1cp-20")

# 1 / log 2
LOG2_E_32 = _numbers("0x1.715476p+0 0x1.4ae0c0p-26")

# 2 / log 2
LOG2_E2_32 = _numbers("0x1.715476p+1 0x1.4ae0c0p-25")

# 1/3
THIRD_32 = _numbers("0x1.555556p-2 -0x1.555556p-27")

# pi/2
HALF_PI_32 = _numbers("0x1.921fb6p+0 -0x1.777a5cp-25 -0x1.ee59dap-50")

# pi
PI_32 = _numbers("0x1.921fb6p+1 -0x1.777a5cp-24")

# sqrt(2)
ROOT2_32 = _numbers("0x1.6a09e6p+0 0x1.9fcef4p-26")

# log 2
LN2_64 = _numbers("0x1.62e42fefa39efp-1 0x1.abc9e3b39803fp-56")

# log 2; an exponent times the first is exact
LN2_SHORT_64 = _numbers("0x1.62e42fefa3000p-1 0x1.3de6af278ece6p-42")

# 1 / log 2
LOG2_E_64 = _numbers("0x1.71547652b82fep+0 0x1.777d0ffda0d24p-56")

# 2 / log 2
LOG2_E2_64 = _numbers("0x1.71547652b82fep+1 0x1.777d0ffda0d24p-55")

# 1/3
THIRD_64 = _numbers("0x1.5555555555555p-2 0x1.5555555555555p-56")

# pi/2
HALF_PI_64 = _numbers("0x1.921fb54442d18p+0 0x1.1a62633145c07p-54 -0x1.f1976b7ed8fbcp-110")

# pi
PI_64 = _numbers("0x1.921fb54442d18p+1 0x1.1a62633145c07p-53")

# sqrt(2)
ROOT2_64 = _numbers("0x1.6a09e667f3bcdp+0 -0x1.bdd3413b26456p-54")

# 1/pi
INVERSE_PI_64 = _numbers("0x1.45f306dc9c883p-2 -0x1.6b01ec5417056p-56")

# 1 - euler
EULER_64 = _numbers("0x1.b0ee6072093cep-2 0x1.6cb90701fbfabp-58")

# (zeta(2) - 1) / 2
CURVE_64 = _numbers("0x1.4a34cc4a60fa6p-2 0x1.1873d8912200cp-56")

# (log(2 pi) - 1) / 2
STIRLING_BASE_64 = _numbers("0x1.acfe390c97d69p-2 0x1.3494bc9001442p-56")

# the positive zero of digamma
DIGAMMA_ZERO_64 = _numbers("0x1.762d86356be3fp+0 0x1.b86a722197829p-54")

# digamma(3/2) / (3/2 - zero)
DIGAMMA_MIDDLE_64 = _numbers("0x1.e6f0cbb873616p-1 0x1.8f70c7a125e6ap-55")

# 1/(2 pi) without the bits above 2^-0
TURN0 = _numbers("0x1.45f306dc9c882p-3 0x1.4a7f09d5f47d5p-56")

# 1/(2 pi) without the bits above 2^-28
TURN1 = _numbers("0x1.727220a94fe14p-29 -0x1.505c1596447e5p-83")

# 1/(2 pi) without the bits above 2^-56
TURN2 = _numbers("0x1.29fc2757d1f53p-58 0x1.377036d8a5665p-112")

# 1/(2 pi) without the bits above 2^-84
TURN3 = _numbers("0x1.7d1f534ddc0dbp-86 0x1.8a5664f10e410p-140")

# 1/(2 pi) without the bits above 2^-40k, in four; times 2^480 from k = 12 on
TURNS_64 = _numbers("""
    0x1.45f306dc9c883p-3 -0x1.6b01ec5417056p-57 -0x1.6447e493ad4cep-111 0x1.e21c820ff28b2p-165
    0x1.220a94fe13abfp-41 -0x1.c1596447e493bp-95 0x1.5993c439041fep-150 0x1.458eaf7aef158p-204
    0x1.abe8fa9a6ee07p-81 -0x1.275a99b0ef1bfp-136 0x1.fe5163abdebbcp-194 0x1.586dc91b8e909p-248
    0x1.c0db6295993c4p-122 0x1.c820ff28b1d5fp-177 -0x1.443a9e48db91cp-234 -0x1.6f6c8b47fe6dbp-288
    0x1.3c439041fe516p-162 0x1.d5ef5de2b0db9p-217 0x1.1b8e909374b80p-272 0x1.924bba8274648p-328
    0x1.28b1d5ef5de2bp-201 0x1.b7246e3a424ddp-258 0x1.700324977504fp-313 -0x1.cdbc603c429c7p-367
    0x1.e2b0db92371d2p-241 0x1.26e9700324977p-297 0x1.413a32439fc3cp-351 -0x1.4e34ed658c117p-406
    0x1.1d2126e970032p-281 0x1.25dd413a3243ap-335 -0x1.e214e34ed658cp-394 -0x1.177dca0ad144cp-450
    0x1.924bba8274648p-328 0x1.cfe1deb1cb12ap-382 -0x1.63045df7282b4p-436 -0x1.44bb7b16638fep-490
    0x1.d1921cfe1deb2p-362 -0x1.a76b2c608bbeep-417 -0x1.415a28976f62dp-471 0x1.c7026b45f7e41p-526
    0x1.eb1cb129a73efp-402 -0x1.df7282b4512eep-456 0x1.3a671c09ad17ep-512 -0x1.bec66e29c67cbp-570
    0x1.9f74411afa976p-441 -0x1.2edec598e3f65p-496 -0x1.741037d8cdc54p-551 0x1.cc1a99cfa4e42p-605
    0x1.2ebb4484e99c7p-2 0x1.35a2fbf209cc9p-61 -0x1.4e33e566305b2p-117 0x1.08bf177bf2507p-171
    0x1.9c7026b45f7e4p-42 0x1.3991d63983534p-98 -0x1.82d8dee81d108p-152 -0x1.b5f13801da001p-208
    0x1.bf209cc8eb1ccp-81 0x1.a99cfa4e422fcp-137 0x1.77bf250763ff1p-191 0x1.7ffde05980fefp-246
    0x1.1cc1a99cfa4e4p-121 0x1.17e2ef7e4a0ecp-176 0x1.ff897ffde0598p-230 0x1.fde5e2316b415p-287
    0x1.3908bf177bf25p-163 0x1.d8ffc4bffef03p-221 -0x1.9fc04343b9d29p-276 -0x1.f592e092c9813p-330
    0x1.f9283b1ff8980p-202 -0x1.0fd33f8086877p-261 -0x1.d297d64b824b2p-316 -0x1.8130d834f648bp-370
    0x1.2fffbc0b301fep-243 -0x1.a1dce94beb25cp-299 -0x1.25930261b069fp-355 0x1.b74f463f669e6p-410
    0x1.fde5e2316b415p-287 -0x1.2e092c98130d8p-342 -0x1.a7b24585ce04dp-397 0x1.3cbfd45aea4f7p-451
    0x1.ad05368fb69b4p-321 -0x1.30d834f648b0cp-378 0x1.8fd9a797fa8b6p-432 -0x1.5b08a7028341dp-487
    0x1.367ecf27cb09bp-362 0x1.d3d18fd9a7980p-416 -0x1.5d28ad8453814p-470 -0x1.a0e84c2f8c608p-526
    0x1.84dba7a31fb35p-401 -0x1.a015d28ad8454p-458 0x1.faf97c5ecf41dp-512 -0x1.821d6b5b45650p-568
    0x1.b34f2ff516ba9p-441 0x1.eeb1faf97c5edp-496 -0x1.7c63043ad6b69p-553 0x1.4d7f6bf623f1bp-607
    0x1.7527bac7ebe5fp-482 0x1.7b3d0739f78a5p-538 0x1.497535fdafd89p-593 -0x1.ca8bdea7f33eep-652""")

# (exp(r) - 1 - r) / r^2 on [-0.35004, 0.35004]; error 2^-30.3
EXP_32 = _numbers("""
    0x1.000000p-1 0x1.555554p-3 0x1.5554f6p-5 0x1.1112b0p-7
    0x1.6d443ap-10 0x1.9ee41ep-13""")

# (exp(r) - 1 - r) / r^2 on [-0.03125, 0.03125]; error 2^-34.8
EXP_PRECISE_32 = _numbers("0x1.000000p-1 0x1.55590ap-3 0x1.55582ep-5")

# (log1p(r) - r + r^2/2) / r^3 on [-0.03125, 0.0625]; error 2^-38.4
LOG_PRECISE_32 = _numbers("0x1.555562p-2 -0x1.000332p-2 0x1.99541ap-3 -0x1.3aeeb6p-3")

# (exp(r) - 1 - r) / r^2 on [-0.021877, 0.021877]; error 2^-29.2
EXP_STEP_32 = _numbers("0x1.00022ap-1 0x1.55576cp-3")

# (log1p(f) - f + f^2/2) / f^3 on [-0.33333, 0.33333]; error 2^-28.7
LOG_32 = _numbers("""
    0x1.555556p-2 -0x1.ffff0ep-3 0x1.99977ep-3 -0x1.559904p-3
    0x1.24f498p-3 -0x1.f38a3cp-4 0x1.b87d86p-4 -0x1.0710a2p-3
    0x1.ebd2bap-4""")

# (log1p(r) - r) / r^2 on [-0.03125, 0.0625]; error 2^-28.3
LOG_REST_32 = _numbers("-0x1.000000p-1 0x1.555836p-2 -0x1.00133ep-2 0x1.826182p-3")

# (log2(1 + r) - r / log(2)) / r^2 on [-0.03125, 0.0625]; error 2^-28.2
LOG2_REST_32 = _numbers("-0x1.715478p-1 0x1.ec74b4p-2 -0x1.716694p-2 0x1.166450p-2")

# (2^r - 1) / r on [-0.5, 0.5]; error 2^-27.3
EXP2_32 = _numbers("""
    0x1.62e430p-1 0x1.ebfbdep-3 0x1.c6af76p-5 0x1.3b2b9cp-7
    0x1.5f11fcp-10 0x1.4353aap-13""")

# (sin(r)/r - 1) / z, z = r^2 on [0, 0.62925]; error 2^-32.5
SIN_32 = _numbers("-0x1.555556p-3 0x1.111174p-7 -0x1.a058e4p-13 0x1.7bf148p-19")

# (cos(r) - 1 + z/2) / z^2, z = r^2 on [0, 0.62925]; error 2^-33.1
COS_32 = _numbers("0x1.55554ap-5 -0x1.6c0c1ap-10 0x1.99e0cep-16")

# (tan(r)/r - 1) / z, z = r^2 on [0, 0.62925]; error 2^-29.3
TAN_32 = _numbers("""
    0x1.555562p-2 0x1.110d12p-3 0x1.baf310p-5 0x1.5bb610p-6
    0x1.684d62p-7 -0x1.f2282ep-14 0x1.25b414p-8""")

# (asin(x)/x - 1) / z, z = x^2 on [0, 0.25]; error 2^-31.7
ASIN_32 = _numbers("""
    0x1.55554cp-3 0x1.3338aap-4 0x1.6ca7dcp-5 0x1.04cd0cp-5
    0x1.d589e8p-7 0x1.349e54p-5""")

# (atan(q)/q - 1) / z, z = q^2 on [0, 0.0625]; error 2^-32.4
ATAN_REST_32 = _numbers("-0x1.555550p-2 0x1.9992dep-3 -0x1.2342e6p-3 0x1.934296p-4")

# (atan(x)/x - 1) / z, z = x^2 on [0, 1]; error 2^-28.6
ATAN_32 = _numbers("""
    -0x1.555540p-2 0x1.999266p-3 -0x1.242628p-3 0x1.c0c8b2p-4
    -0x1.58bc1cp-4 0x1.dc941ap-5 -0x1.0129b0p-5 0x1.6957fcp-7
    -0x1.dca730p-10""")

# (sinh(x)/x - 1) / z, z = x^2 on [0, 0.12253]; error 2^-34.3
SINH_32 = _numbers("0x1.555556p-3 0x1.110fc2p-7 0x1.a2d77cp-13")

# (cosh(x) - 1 - z/2) / z^2, z = x^2 on [0, 0.12253]; error 2^-33.0
COSH_32 = _numbers("0x1.5554e2p-5 0x1.6d5524p-10")

# m^(-2/3) on [0.75, 1.5]; error 2^-10.3
CBRT_32 = _numbers("0x1.4eb740p+1 -0x1.750e58p+1 0x1.a892f6p+0 -0x1.6fd0dcp-2")

# exp(x^2) erfc(x) (x + 2) - 5/4 + 3t/4, t = (x - 2)/(x + 2) on [-1, 0.68]; error 2^-26.9
ERFC_32 = _numbers("""
    -0x1.d3cc72p-3 0x1.0163ccp-4 0x1.1e2decp-2 -0x1.2a8890p-5
    -0x1.606c20p-6 0x1.a8834ap-8 0x1.948f7cp-9 -0x1.b3b56ap-11
    -0x1.534f60p-11 0x1.c2093ap-16 0x1.dfd2f0p-14 0x1.d2b954p-16""")

# erfinv(x)/x - sqrt(w), w = -log(1 - x^2), u = 1/sqrt(w) - 0.1695 on [-0.0745, 0.0745]; error 2^-30.3
ERFINV_END_32 = _numbers("""
    -0x1.20e166p-3 -0x1.59ace0p-2 0x1.6f9feep+0 -0x1.7f9758p+1
    0x1.08990ap+3 -0x1.d4f19ep+4 0x1.cf1adep+6 -0x1.447b20p+9
    0x1.80e49ep+11""")

# erfinv(x)/x - 0.875 - w/4, w = -log(1 - x^2), u = w - 2.5 on [-2.5, 2.5]; error 2^-28.4
ERFINV_NEAR_32 = _numbers("""
    0x1.71741ep-10 -0x1.b85d3ep-9 -0x1.11c420p-8 -0x1.486644p-10
    0x1.c9c5a2p-13 -0x1.4cfd26p-18 -0x1.ccfd3ap-19 0x1.f43f74p-22
    0x1.35efeep-26 -0x1.2d6da6p-27 0x1.70bd84p-32""")

# erfinv(x)/x - sqrt(w), w = -log(1 - x^2), u = sqrt(w) - 3 on [-0.76393, 1.2]; error 2^-28.8
ERFINV_FAR_32 = _numbers("""
    -0x1.561042p-3 0x1.b7276ep-10 0x1.358096p-7 -0x1.f4e1eap-8
    0x1.74c6b4p-8 -0x1.d375cep-9 0x1.82508ap-10 -0x1.fdb8f2p-14
    -0x1.20b0aep-12 0x1.52f208p-13 -0x1.02145ep-15""")

# (exp(r) - 1 - r) / r^2 on [-0.35004, 0.35004]; error 2^-59.4
EXP_64 = _numbers("""
    0x1.000000p-1 0x1.5555555555559p-3 0x1.555555555553cp-5 0x1.111111110f4c5p-7
    0x1.6c16c16c1fb0ep-10 0x1.a01a01b0c31a4p-13 0x1.a01a0179b5146p-16 0x1.71ddf5e60d789p-19
    0x1.27e53821fba28p-22 0x1.af635ca45cbe6p-26 0x1.1ee9246d132d6p-29""")

# (exp(r) - 1 - r) / r^2 on [-0.078125, 0.078125]; error 2^-64.1
EXP_PRECISE_64 = _numbers("""
    0x1.000000p-1 0x1.5555555555555p-3 0x1.5555555555be6p-5 0x1.1111111113f21p-7
    0x1.6c16c13c58cbbp-10 0x1.a01a00011ed05p-13 0x1.a027865af973cp-16 0x1.72146909fa7e5p-19""")

# (log1p(r) - r + r^2/2) / r^3 on [-0.0625, 0.125]; error 2^-63.6
LOG_PRECISE_64 = _numbers("""
    0x1.55555555554d5p-2 -0x1.ffffffffff72dp-3 0x1.9999999a048b0p-3 -0x1.5555555a652a9p-3
    0x1.249248437cd38p-3 -0x1.ffffe3016f40ep-4 0x1.c71da2cccc1fap-4 -0x1.99b97b30358e4p-4
    0x1.7499423958d41p-4 -0x1.4a90486ee870fp-4 0x1.b592f2247e073p-5""")

# (exp(r) - 1 - r) / r^2 on [-0.043755, 0.043755]; error 2^-58.2
EXP_STEP_64 = _numbers("""
    0x1.000000000011fp-1 0x1.555555555566cp-3 0x1.555555476f50cp-5 0x1.1111110788428p-7
    0x1.6c1cdfd67d39ap-10 0x1.a0209232e5c16p-13""")

# (2 atanh(s)/s - 2) / z, z = s^2 on [0, 0.029437]; error 2^-59.5
LOG_64 = _numbers("""
    0x1.5555555555592p-1 0x1.999999997ff18p-2 0x1.24924941e17cap-2 0x1.c71c5214170e7p-3
    0x1.74663cff17c02p-3 0x1.39a1e66c304ccp-3 0x1.2f03d7b2a884cp-3""")

# (2^r - 1) / r on [-0.5, 0.5]; error 2^-55.7
EXP2_64 = _numbers("""
    0x1.62e42fefa39efp-1 0x1.ebfbdff82c59cp-3 0x1.c6b08d704a0d5p-5 0x1.3b2ab6fba1252p-7
    0x1.5d87fe78b3842p-10 0x1.4309130be8276p-13 0x1.ffcbfbfbcddfcp-17 0x1.62bfcd8e6abb8p-20
    0x1.b525ef5648dc0p-24 0x1.e6138df02e164p-28 0x1.e87389b785584p-32""")

# (atanh(s)/s - 1 - z/3) / z^2, z = s^2 on [0, 0.029437]; error 2^-73.5
POW_64 = _numbers("""
    0x1.9999999999996p-3 0x1.2492492492f51p-3 0x1.c71c71c5968f1p-4 0x1.745d182956f6bp-4
    0x1.3b1364c922e40p-4 0x1.11206f3442e50p-4 0x1.de3d6f9f84981p-5 0x1.eac5c57f09e1ep-5""")

# log2(1 + v) / v, for float32 on [-0.33333, 0.33333]; error 2^-38.5
POW_LOG2_64 = _numbers("""
    0x1.71547652bc347p+0 -0x1.71547652ecd47p-1 0x1.ec709d8d1d579p-2 -0x1.715475c679466p-2
    0x1.2776e354dcc74p-2 -0x1.ec7108d210f3dp-3 0x1.a60acf745182dp-3 -0x1.714296f091488p-3
    0x1.4987624f1a131p-3 -0x1.28faf65303d57p-3 0x1.f9bc6c3e81e94p-4 -0x1.c9bfa25da4ccbp-4
    0x1.43361adbb4ecbp-3 -0x1.343c9dc74a66bp-3""")

# 2^r, for float32 on [-0.5, 0.5]; error 2^-29.0
POW_EXP2_64 = _numbers("""
    0x1.0000000260f51p+0 0x1.62e430c7eaa02p-1 0x1.ebfbdadd88058p-3 0x1.c6aed4b7871d6p-5
    0x1.3b2dbb448b713p-7 0x1.5f456b183f814p-10 0x1.41d37c8ec0613p-13""")

# (sin(r)/r - 1) / z, z = r^2 on [0, 0.62925]; error 2^-63.2
SIN_64 = _numbers("""
    -0x1.5555555555555p-3 0x1.111111111106ap-7 -0x1.a01a019ffeb51p-13 0x1.71de3a346cf4fp-19
    -0x1.ae642daffb902p-26 0x1.610ad37090579p-33 -0x1.a0a0c8e065ca4p-41""")

# (cos(r) - 1 + z/2) / z^2, z = r^2 on [0, 0.62925]; error 2^-63.9
COS_64 = _numbers("""
    0x1.555555555554ap-5 -0x1.6c16c16c14dc4p-10 0x1.a01a019c515acp-16 -0x1.27e4f7c235cf0p-22
    0x1.1ee9b9e2d29d0p-29 -0x1.8f941f928b7abp-37""")

# (tan(r)/r - 1) / z, z = r^2 on [0, 0.62925]; error 2^-59.5
TAN_64 = _numbers("""
    0x1.5555555555561p-2 0x1.111111111022fp-3 0x1.ba1ba1baf070dp-5 0x1.664f4852a6cbap-6
    0x1.226e3bd3ce3d6p-7 0x1.d6d2b0aa27dcbp-9 0x1.7db499f0d6bdbp-10 0x1.349dd7b249f16p-11
    0x1.006e4b96bb2eep-12 0x1.55e76b6722fcap-14 0x1.29842e54680bfp-14 -0x1.fca8fec88a13dp-16
    0x1.b8b9fa072165fp-15 -0x1.b79cc98c8cd15p-16 0x1.572c7c1c2d6dcp-17""")

# (asin(x)/x - 1) / z, z = x^2 on [0, 0.25]; error 2^-59.8
ASIN_64 = _numbers("""
    0x1.5555555555578p-3 0x1.333333332df22p-4 0x1.6db6db722a7e1p-5 0x1.f1c71a8c0a0f4p-6
    0x1.6e8bdfd89abd5p-6 0x1.1c49df19739dfp-6 0x1.ca2127cc997f6p-7 0x1.757886a192e8ep-7
    0x1.6184f205417f8p-7 0x1.e1b7103fa4af1p-9 0x1.64e4d7468b4a0p-6 -0x1.59cb9966c74f8p-6
    0x1.0bd67f8acc1a5p-5""")

# (atan(q)/q - 1) / z, z = q^2 on [0, 0.0625]; error 2^-63.7
ATAN_REST_64 = _numbers("""
    -0x1.5555555555553p-2 0x1.9999999998dbbp-3 -0x1.24924923ec900p-3 0x1.c71c71396bff3p-4
    -0x1.745cf4fb635dfp-4 0x1.3b0eab18853c3p-4 -0x1.109c68ec2cf95p-4 0x1.d4fee93033887p-5
    -0x1.47bb880984d04p-5""")

# (atan(x)/x - 1) / z, z = x^2 on [0, 1]; error 2^-57.4
ATAN_64 = _numbers("""
    -0x1.555555555554ep-2 0x1.9999999998db7p-3 -0x1.249249245c72ep-3 0x1.c71c71b78e94fp-4
    -0x1.745d15ea8c310p-4 0x1.3b139d1a57f5ep-4 -0x1.11103ded9b578p-4 0x1.e1d51d799c953p-5
    -0x1.aedd3689ff3e6p-5 0x1.84bf44320ba60p-5 -0x1.5f44711680bbfp-5 0x1.394f1d26aad86p-5
    -0x1.0d1c676296d53p-5 0x1.adff28f2fd95dp-6 -0x1.32b0056647b5dp-6 0x1.75d22e367b946p-7
    -0x1.73b15626694d3p-8 0x1.1db8ad21f1c3dp-9 -0x1.3bbacde575ef1p-11 0x1.bb94db1529e67p-14
    -0x1.2854014b0835dp-17""")

# (sinh(x)/x - 1) / z, z = x^2 on [0, 0.12253]; error 2^-61.5
SINH_64 = _numbers("""
    0x1.5555555555559p-3 0x1.111111110f5a2p-7 0x1.a01a01b07c4b1p-13 0x1.71ddf67d0ceafp-19
    0x1.af6276c018df6p-26""")

# (cosh(x) - 1 - z/2) / z^2, z = x^2 on [0, 0.12253]; error 2^-69.7
COSH_64 = _numbers("""
    0x1.5555555555558p-5 0x1.6c16c16c14f8ap-10 0x1.a01a01adc28dfp-16 0x1.27e4cb456a8aap-22
    0x1.1f8d66ab38691p-29""")

# erf(x)/x - 1, z = x^2 on [0, 1]; error 2^-56.2
ERF_64 = _numbers("""
    0x1.06eba8214db69p-3 -0x1.812746b037a27p-2 0x1.ce2f21a045b91p-4 -0x1.b82ce313666a2p-6
    0x1.565bcd2fae305p-8 -0x1.c02db9e2b6742p-11 0x1.f9a3cfb324e9cp-14 -0x1.f4dec68f821f7p-17
    0x1.ba824c2151ba5p-20 -0x1.64732188cebf5p-23 0x1.181d35b47cf56p-26 -0x1.e4ccddacf135ep-30
    0x1.687e149ae6ff8p-33""")

# m^(-2/3) on [0.75, 1.5]; error 2^-20.8
CBRT_64 = _numbers("""
    0x1.0d1fe33391197p+2 -0x1.610be580f78cap+3 0x1.3375cc122a83fp+4 -0x1.573ab15d3b084p+4
    0x1.ec88b9bb8bc53p+3 -0x1.b8c736ad59a88p+2 0x1.c0ae5d887699bp+0 -0x1.8d4aa5b06c5a7p-3""")

# exp(x^2) erfc(x) (x + 2), t = (x - 2)/(x + 2) on [-0.33333, 0.5]; error 2^-54.5
ERF_FAR_64 = _numbers("""
    0x1.058671b52c776p+0 -0x1.5fd386754effbp-1 0x1.1e2deea6b109ep-2 -0x1.2a88e6107af7ep-5
    -0x1.606e4154be8f1p-6 0x1.a89eaff0fddbfp-8 0x1.9517bad2c39e2p-9 -0x1.b6fbef09adfc9p-11
    -0x1.5ba403a36bb5fp-11 0x1.204492a3b28cdp-15 0x1.2ef249958aaf5p-13 0x1.1f382fb7784c1p-15
    -0x1.6b766c3932b47p-16 -0x1.18063d67a56e5p-16 -0x1.8ef6dd590706fp-21 0x1.53d587c19d83ap-18""")

# exp(x^2) erfc(x) (x + 2) - 5/4 + 3t/4, t = (x - 2)/(x + 2) on [-1, 0.86667]; error 2^-56.1
ERFC_64 = _numbers("""
    -0x1.d3cc72569c451p-3 0x1.0163cc558803ap-4 0x1.1e2deea6b1175p-2 -0x1.2a88e6107d64dp-5
    -0x1.606e41552a413p-6 0x1.a89eaff87d8c2p-8 0x1.9517bb7129c6fp-9 -0x1.b6fbf9a207557p-11
    -0x1.5ba438814e306p-11 0x1.205414ac0dca8p-15 0x1.2efa32bfd8339p-13 0x1.1e76602274b1bp-15
    -0x1.6c03392d98c26p-16 -0x1.0e78ef9f56ba6p-16 -0x1.2d88ba16c1556p-20 0x1.e94c61f50dae2p-19
    0x1.0bff9242146fep-19 -0x1.0eb3c6d000a8bp-29 -0x1.2e86b47ecafabp-21 -0x1.55d1a3520f859p-22
    -0x1.79c0c8f6d5a7cp-27 0x1.bf58fd39c34cap-24 0x1.0e57f398d4991p-24 -0x1.918e5ff3ca03fp-28
    -0x1.6d9b19d2115aep-26 -0x1.532a792535414p-28 0x1.72dea4b273ac2p-29 0x1.268294203cba6p-30""")

# erfinv(x)/x - sqrt(w), w = -log(1 - x^2), u = 1/sqrt(w) - 0.1015 on [-0.0675, 0.0675]; error 2^-58.2
ERFINV_END_64 = _numbers("""
    -0x1.c3b5c69a8570dp-4 -0x1.2de06712c81cdp-1 0x1.37a00d016047bp+1 -0x1.02f7d6e4c71cfp+3
    0x1.3bf90a84e2b93p+5 -0x1.d780d0c48e2dep+7 0x1.83a9759eed111p+10 -0x1.54d85cb0ff9fcp+13
    0x1.3ab4b7047776dp+16 -0x1.2d5d8ce780376p+19 0x1.28c6fa16d97d9p+22 -0x1.2afe35f104f8bp+25
    0x1.3462fc71bb564p+28 -0x1.41491c17031dfp+31 0x1.3cae13b4619dap+34 -0x1.526dc5272dee6p+37
    0x1.27312f0e63701p+41 -0x1.3f046c1a9f4c5p+44 -0x1.d13ba8f593850p+47 0x1.f7117d582245cp+50
    0x1.cb73719d4a470p+56 -0x1.fb4633fe27c99p+59 -0x1.5cf19cd1cca15p+64 0x1.8539460e52f25p+67
    0x1.9ea0832b75fadp+71 -0x1.d2fce07347215p+74 -0x1.14acba4c1e47cp+78 0x1.3a07bdb4d3665p+81
    0x1.7f5ca43012a74p+83 -0x1.b62ecb84b9e27p+86""")

# erfinv(x)/x - 0.875 - w/4, w = -log(1 - x^2), u = w - 3.125 on [-3.125, 3.125]; error 2^-57.7
ERFINV_NEAR_64 = _numbers("""
    -0x1.54306cca2f42bp-9 -0x1.427f264ec2064p-7 -0x1.8b6c33114ead6p-8 -0x1.84576948356a9p-11
    0x1.879c2a20b5296p-13 -0x1.d1d1f7ca22414p-17 -0x1.6e8a53cde9562p-20 0x1.c6b4f88bf0823p-22
    -0x1.f36ced46835bbp-26 -0x1.1a9eb0f0ae7d8p-28 0x1.20f5363e205a9p-30 -0x1.dc3f13735e24dp-35
    -0x1.c8a3f9132c43ap-37 0x1.7235dfa2c99e7p-39 -0x1.6bdbe677013e7p-44 -0x1.686e5c609110bp-45
    0x1.d6c6e9e9c8459p-48 -0x1.6fd1653eda878p-55 -0x1.1ca75ec45151ap-53 0x1.1ec274ddb86cfp-56
    0x1.9aa7c9c1a12d9p-61 -0x1.9bc0a1844c012p-62 0x1.386879076a787p-66 0x1.e6818c645e609p-69
    -0x1.6adbfac940abep-72""")

# erfinv(x)/x - sqrt(w), w = -log(1 - x^2), u = sqrt(w) - 3.25 on [-0.75, 0.75]; error 2^-58.4
ERFINV_FAR_64 = _numbers("""
    -0x1.5433c7f2a5b83p-3 0x1.58a6d641d54a8p-8 0x1.5ffcfe5b6cd82p-8 -0x1.ebadabba02370p-9
    0x1.468eeca94292ep-9 -0x1.ba9240d897b0dp-10 0x1.f3cc545e6afabp-11 -0x1.7448bcc1884fep-12
    0x1.932e8ea1faa0bp-16 0x1.1e6abb029592bp-14 -0x1.8cf45f4086901p-15 0x1.a241e73824491p-17
    0x1.8999954008620p-19 -0x1.0b7a98ee495edp-18 0x1.8dbbf0d6e9562p-20 -0x1.d955cb834ce2ap-26
    -0x1.07baa0ec272d7p-22 0x1.1a7480fb22f01p-23 -0x1.659526cd1881ep-26 -0x1.0691e1ff16675p-26
    0x1.06a5f17e60903p-27""")

# erfinv(x)/x - sqrt(w), w = -log(1 - x^2), u = sqrt(w) - 5 on [-1, 1.1]; error 2^-58.7
ERFINV_TAIL_64 = _numbers("""
    -0x1.336445ca500a3p-3 0x1.51868fdd085b2p-7 -0x1.22ea5df1cd109p-13 -0x1.c2f36aa171ac3p-13
    0x1.3ebf4efb5a40ap-14 -0x1.4a3490378996fp-16 0x1.2fbcfd5ce6941p-18 -0x1.0a903a01a223ep-20
    0x1.ebe3389366d8ep-23 -0x1.2236a37dac0dep-24 0x1.f286eedbd0c28p-26 -0x1.0576852243d5fp-26
    0x1.0cc69c5a5d619p-27 -0x1.e492c1d32d376p-29 0x1.6977606af0daep-30 -0x1.ab1236182aa66p-32
    0x1.344ffff3e62dep-34 0x1.45cde2c2066e6p-36 -0x1.68d0c35d3b219p-36 0x1.664a0805a057ep-38""")

# ((lgamma(2 + d)/d - 1 + euler)/d - (zeta(2) - 1)/2) / d on [-0.75, 0.25]; error 2^-58.1
LGAMMA_64 = _numbers("""
    -0x1.13e001a55760dp-4 0x1.51322ac7d8562p-6 -0x1.e404fc2188358p-8 0x1.7add6ead913a2p-9
    -0x1.38ac5c360ffa5p-10 0x1.0b36af7b1d62ap-11 -0x1.d3fd402333e1dp-13 0x1.a127f50dd9871p-14
    -0x1.78e1736ff9db1p-15 0x1.57ec5b811ba9ep-16 -0x1.3cb54a2524387p-17 0x1.2b5adae46a209p-18
    -0x1.ed0cdf2006cbdp-20 0x1.d7b39cc2afda0p-21 -0x1.c51b6f4fda106p-20 -0x1.539ab7d969bf1p-19
    -0x1.acb7cf7303bb8p-19 -0x1.f07d9b498add1p-20 -0x1.27ad32823a706p-21""")

# x (lgamma(x) - (x - 1/2) log(x) + x - log(2 pi)/2), z = 1/x^2 on [0, 0.055363]; error 2^-59.1
STIRLING_64 = _numbers("""
    0x1.55555555553ccp-4 -0x1.6c16c16603527p-9 0x1.a019f03e9d2b1p-11 -0x1.380d400ec8028p-11
    0x1.b8073358a9783p-11 -0x1.e1d720da87e8ep-10 0x1.3b0149db50c57p-8 -0x1.25f8eece3e130p-7""")

# (digamma(x)/(x - zero) - middle) / v, v = x - 3/2 on [-0.5, 0.5]; error 2^-56.4
DIGAMMA_64 = _numbers("""
    -0x1.b1cb63005ee98p-2 0x1.eca189b8e6f74p-3 -0x1.2feeeb98a78fbp-3 0x1.8512e5903863dp-4
    -0x1.fb44202a22601p-5 0x1.4de9aa17cbdc0p-5 -0x1.b9f8b11c0d2e2p-6 0x1.256471638d1fcp-6
    -0x1.863563f5679f4p-7 0x1.03c0b0cd5be23p-7 -0x1.5a06a575503c0p-8 0x1.cd1f7eafcb325p-9
    -0x1.336dc7d149713p-9 0x1.99dc9598e7a1ap-10 -0x1.0fb3125953687p-10 0x1.69eb2a7d1709ep-11
    -0x1.fd9564b0a2b81p-12 0x1.55a51ea73ce22p-12 -0x1.2f925e7a8adf2p-13 0x1.87b8a2a2ad10ap-14
    -0x1.75d79f6830acfp-13 0x1.fbf454e2f7b87p-14""")

# (digamma(y + 1/2) - log(y)) / u, u = 1/y^2 on [0, 0.44444]; error 2^-57.6
MIDPOINT_64 = _numbers("""
    0x1.5555555554e11p-5 -0x1.ddddddd7e4ad3p-8 0x1.f7df76b7217a8p-9 -0x1.0eedc445375bep-8
    0x1.ef47e64ea77f0p-8 -0x1.57578267143c3p-6 0x1.47bd46cb832c9p-4 -0x1.80a01b2f59a78p-2
    0x1.e927d1f72be5fp+0 -0x1.2eae43bf1530fp+3 0x1.52b89d0645866p+5 -0x1.479ed469ce2e5p+7
    0x1.0a36d09e3413fp+9 -0x1.641752f7e73dcp+10 0x1.80ee8b19e089dp+11 -0x1.498659d78406ap+12
    0x1.b32ae3cacac82p+12 -0x1.aa9c742fbdd15p+12 0x1.23e4e04af17d9p+12 -0x1.f112d8b83f4a7p+10
    0x1.8c2be2b9c600ap+8""")
