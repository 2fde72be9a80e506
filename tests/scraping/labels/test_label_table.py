"""Label parser: a table of type texts with their path, ICAO designator and roles."""

import pytest

from planespotter_scraping.labels.parser import Label, LabelPath, parse_label

# Type text | family | model | ICAO designator | roles, in a table per constructor.
AIRBUS = """
A300B2-1C            | A300 |            | A30B |
A300B2-203           | A300 |            | A30B |
A300B4-2C            | A300 |            | A30B |
A300B4-203           | A300 |            | A30B |
A300B4-203(F)        | A300 |            | A30B | freighter
A300C4-203           | A300 |            | A30B |
A300F4-203           | A300 |            | A30B | freighter
A300B4-601           | A300 | A300-600   | A306 |
A300B4-603           | A300 | A300-600   | A306 |
A300B4-605R          | A300 | A300-600   | A306 |
A300B4-622R          | A300 | A300-600   | A306 |
A300B4-622R(F)       | A300 | A300-600   | A306 | freighter
A300F4-605R          | A300 | A300-600   | A306 | freighter
A300F4-622R          | A300 | A300-600   | A306 | freighter
A300C4-605R          | A300 | A300-600   | A306 |
A300-600             | A300 | A300-600   | A306 |
A300-600R            | A300 | A300-600   | A306 |
A300-600RF           | A300 | A300-600   | A306 | freighter
A300B4-608ST         | A300 | A300-600ST | A3ST | freighter special
A300-600ST Beluga    | A300 | A300-600ST | A3ST | freighter special
A300B4-608ST Super Transporter | A300 | A300-600ST | A3ST | freighter special
Beluga               | A300 | A300-600ST | A3ST | freighter special
A300                 | A300 |            |      |
A310-203             | A310 | A310-200   | A310 |
A310-222             | A310 | A310-200   | A310 |
A310-203(F)          | A310 | A310-200   | A310 | freighter
A310-304             | A310 | A310-300   | A310 |
A310-304(F)          | A310 | A310-300   | A310 | freighter
A310-304(ET)         | A310 | A310-300   | A310 |
A310-308             | A310 | A310-300   | A310 |
A310-324             | A310 | A310-300   | A310 |
A310-325(ET)         | A310 | A310-300   | A310 |
A310-304(MRTT)       | A310 | A310-300   | A310 | military
A310 MRTT            | A310 |            | A310 | military
CC-150 Polaris       | A310 | A310-300   | A310 | military
A310                 | A310 |            | A310 |
A318-111             | A318 | A318-100   | A318 |
A318-112(CJ)         | A318 | A318-100   | A318 | bizjet
A318-112 Elite       | A318 | A318-100   | A318 | bizjet
A318-122             | A318 | A318-100   | A318 |
A318-100             | A318 | A318-100   | A318 |
ACJ318               | A318 |            | A318 | bizjet
A319-111             | A319 | A319-100   | A319 |
A319-112             | A319 | A319-100   | A319 |
A319-114             | A319 | A319-100   | A319 |
A319-131             | A319 | A319-100   | A319 |
A319-132             | A319 | A319-100   | A319 |
A319-133LR           | A319 | A319-100   | A319 |
A319-115(CJ)         | A319 | A319-100   | A319 | bizjet
A319-115X(CJ)        | A319 | A319-100   | A319 | bizjet
A319-133X(CJ)        | A319 | A319-100   | A319 | bizjet
A319-133(CJ)         | A319 | A319-100   | A319 | bizjet
A319CJ               | A319 |            |      | bizjet
ACJ319               | A319 |            |      | bizjet
ACJ319neo            | A319 | A319neo    | A19N | bizjet
A319-151N            | A319 | A319neo    | A19N |
A319-153N            | A319 | A319neo    | A19N |
A319-153N(CJ)        | A319 | A319neo    | A19N | bizjet
A319-171N            | A319 | A319neo    | A19N |
A319neo              | A319 | A319neo    | A19N |
A319-100             | A319 | A319-100   | A319 |
A320-111             | A320 | A320-100   | A320 |
A320-211             | A320 | A320-200   | A320 |
A320-212             | A320 | A320-200   | A320 |
A320-214             | A320 | A320-200   | A320 |
A320-214(WL)         | A320 | A320-200   | A320 |
A320-214(SL)         | A320 | A320-200   | A320 |
A320-215             | A320 | A320-200   | A320 |
A320-216             | A320 | A320-200   | A320 |
A320-231             | A320 | A320-200   | A320 |
A320-232             | A320 | A320-200   | A320 |
A320-233             | A320 | A320-200   | A320 |
A320-232(CJ) Prestige | A320 | A320-200  | A320 | bizjet
A320-214P2F          | A320 | A320-200   | A320 | freighter
A320-232(P2F)        | A320 | A320-200   | A320 | freighter
A320-200             | A320 | A320-200   | A320 |
A320 200             | A320 | A320-200   | A320 |
A.320-214            | A320 | A320-200   | A320 |
A-320-214            | A320 | A320-200   | A320 |
ACJ320               | A320 |            |      | bizjet
ACJ320neo            | A320 | A320neo    | A20N | bizjet
A320-251N            | A320 | A320neo    | A20N |
A320-251N(SL)        | A320 | A320neo    | A20N |
A320-252N            | A320 | A320neo    | A20N |
A320-253N            | A320 | A320neo    | A20N |
A320-271N            | A320 | A320neo    | A20N |
A320-272N            | A320 | A320neo    | A20N |
A320-273N            | A320 | A320neo    | A20N |
A320-251             | A320 | A320neo    | A20N |
A320-271             | A320 | A320neo    | A20N |
A320neo              | A320 | A320neo    | A20N |
A320-200N            | A320 | A320neo    | A20N |
A320 NEO             | A320 | A320neo    | A20N |
A20N                 | A320 | A320neo    | A20N |
A320                 | A320 |            |      |
A319/A320            |      |            |      |
A320-214/251         | A320 | A320-200   | A320 |
A321-111             | A321 | A321-100   | A321 |
A321-112             | A321 | A321-100   | A321 |
A321-131             | A321 | A321-100   | A321 |
A321-211             | A321 | A321-200   | A321 |
A321-211(WL)         | A321 | A321-200   | A321 |
A321-211(P2F)        | A321 | A321-200   | A321 | freighter
A321-211P2F          | A321 | A321-200   | A321 | freighter
A321-200P2F          | A321 | A321-200   | A321 | freighter
A321-231(P2F)        | A321 | A321-200   | A321 | freighter
A321-200PCF          | A321 | A321-200   | A321 | freighter
A321-212             | A321 | A321-200   | A321 |
A321-213             | A321 | A321-200   | A321 |
A321-231             | A321 | A321-200   | A321 |
A321-231(SL)         | A321 | A321-200   | A321 |
A321-232             | A321 | A321-200   | A321 |
A321-200             | A321 | A321-200   | A321 |
A321P2F              | A321 |            |      | freighter
A321-251N            | A321 | A321neo    | A21N |
A321-251NX           | A321 | A321neo    | A21N |
A321-252NX           | A321 | A321neo    | A21N |
A321-253N            | A321 | A321neo    | A21N |
A321-253NX           | A321 | A321neo    | A21N |
A321-253NY           | A321 | A321neo    | A21N |
A321-271N            | A321 | A321neo    | A21N |
A321-271NX           | A321 | A321neo    | A21N |
A321-271NX(LR)       | A321 | A321neo    | A21N |
A321-271NY           | A321 | A321neo    | A21N |
A321-272NX           | A321 | A321neo    | A21N |
A321neo              | A321 | A321neo    | A21N |
A321LR               | A321 | A321neo    | A21N |
A321XLR              | A321 | A321neo    | A21N |
A321neoLR            | A321 | A321neo    | A21N |
A330-201             | A330 | A330-200   | A332 |
A330-202             | A330 | A330-200   | A332 |
A330-203             | A330 | A330-200   | A332 |
A330-223             | A330 | A330-200   | A332 |
A330-243             | A330 | A330-200   | A332 |
A330-243F            | A330 | A330-200   | A332 | freighter
A330-223F            | A330 | A330-200   | A332 | freighter
A330-200F            | A330 | A330-200   | A332 | freighter
A330-243(P2F)        | A330 | A330-200   | A332 | freighter
A330-243(ACJ)        | A330 | A330-200   | A332 | bizjet
A330-243 Prestige    | A330 | A330-200   | A332 | bizjet
A330-203MRTT         | A330 | A330-200   | A332 | military
A330-243MRTT         | A330 | A330-200   | A332 | military
A330-200MRTT         | A330 | A330-200   | A332 | military
A330 MRTT            | A330 |            |      | military
KC-30A               | A330 | A330-200   | A332 | military
Voyager KC2          | A330 | A330-200   | A332 | military
A330-301             | A330 | A330-300   | A333 |
A330-302             | A330 | A330-300   | A333 |
A330-303             | A330 | A330-300   | A333 |
A330-321             | A330 | A330-300   | A333 |
A330-322             | A330 | A330-300   | A333 |
A330-323             | A330 | A330-300   | A333 |
A330-323X            | A330 | A330-300   | A333 |
A330-323E            | A330 | A330-300   | A333 |
A330-342             | A330 | A330-300   | A333 |
A330-343             | A330 | A330-300   | A333 |
A330-343E            | A330 | A330-300   | A333 |
A330-343X            | A330 | A330-300   | A333 |
A330-343(P2F)        | A330 | A330-300   | A333 | freighter
A330-300P2F          | A330 | A330-300   | A333 | freighter
A330-743L            | A330 | A330-700   | A337 | freighter special
A330-743L Beluga XL  | A330 | A330-700   | A337 | freighter special
BelugaXL             | A330 | A330-700   | A337 | freighter special
A330-841             | A330 | A330-800   | A338 |
A330-841N            | A330 | A330-800   | A338 |
A330-800neo          | A330 | A330-800   | A338 |
A330-941             | A330 | A330-900   | A339 |
A330-941N            | A330 | A330-900   | A339 |
A330-900             | A330 | A330-900   | A339 |
A330-900neo          | A330 | A330-900   | A339 |
A330neo              | A330 |            |      |
A330-200/300         | A330 |            |      |
A330                 | A330 |            |      |
A340-211             | A340 | A340-200   | A342 |
A340-212             | A340 | A340-200   | A342 |
A340-213             | A340 | A340-200   | A342 |
A340-213X            | A340 | A340-200   | A342 |
A340-311             | A340 | A340-300   | A343 |
A340-312             | A340 | A340-300   | A343 |
A340-313             | A340 | A340-300   | A343 |
A340-313X            | A340 | A340-300   | A343 |
A340-313E            | A340 | A340-300   | A343 |
A340-313(CJ)         | A340 | A340-300   | A343 | bizjet
A340-541             | A340 | A340-500   | A345 |
A340-541(ACJ)        | A340 | A340-500   | A345 | bizjet
A340-542             | A340 | A340-500   | A345 |
A340-642             | A340 | A340-600   | A346 |
A340-642X            | A340 | A340-600   | A346 |
A340-643             | A340 | A340-600   | A346 |
A340-642HGW          | A340 | A340-600   | A346 |
A343                 | A340 | A340-300   | A343 |
A350-941             | A350 | A350-900   | A359 |
A350-941ULR          | A350 | A350-900   | A359 |
A350-941(ACJ)        | A350 | A350-900   | A359 | bizjet
A350-900             | A350 | A350-900   | A359 |
A350-900 XWB         | A350 | A350-900   | A359 |
A350-1041            | A350 | A350-1000  | A35K |
A350-1000            | A350 | A350-1000  | A35K |
A350-1000 XWB        | A350 | A350-1000  | A35K |
A35K                 | A350 | A350-1000  | A35K |
A350F                | A350 |            |      | freighter
A380-841             | A380 | A380-800   | A388 |
A380-842             | A380 | A380-800   | A388 |
A380-861             | A380 | A380-800   | A388 |
A380-800             | A380 | A380-800   | A388 |
A380                 | A380 |            | A388 |
A220-100             | A220 | A220-100   | BCS1 |
A220-171             | A220 | A220-100   | BCS1 |
A220-300             | A220 | A220-300   | BCS3 |
A220-371             | A220 | A220-300   | BCS3 |
A220-300 (BD-500-1A11) | A220 | A220-300 | BCS3 |
A220 (BD-500-1A10)   | A220 | A220-100   | BCS1 |
BD-500-1A10          | A220 | A220-100   | BCS1 |
BD-500-1A11          | A220 | A220-300   | BCS3 |
ACJ TwoTwenty        | A220 | A220-100   | BCS1 | bizjet
A400M-180 Atlas      | A400M |           | A400 | military
A400M                | A400M |           | A400 | military
C295M                |      |            |      |
A390-800             |      |            |      |
A300 B4-203          | A300 |            | A30B |
A300 B4-605R         | A300 | A300-600   | A306 |
A319N                | A319 | A319neo    | A19N |
A320N                | A320 | A320neo    | A20N |
A321N                | A321 | A321neo    | A21N |
A321NX               | A321 | A321neo    | A21N |
A321NY               | A321 | A321neo    | A21N |
A330neo-900          | A330 | A330-900   | A339 |
A350XWB-941          | A350 | A350-900   | A359 |
A321-200SDF          | A321 | A321-200   | A321 | freighter
A320-214 F-GKXA      | A320 | A320-200   | A320 |
A320-214, A321-211   |     |            |      |
A318/A319/A320       |     |            |      |
CC-150T Polaris      | A310 | A310-300   | A310 | military
CS-300               | A220 | A220-300   | BCS3 |
CSeries 300          | A220 | A220-300   | BCS3 |
A320-800             | A320 |            |      |
"""

BOMBARDIER = """
CS100                      | A220 | A220-100 | BCS1 |
CS300                      | A220 | A220-300 | BCS3 |
CSeries CS100              | A220 | A220-100 | BCS1 |
CSeries CS300              | A220 | A220-300 | BCS3 |
C Series CS300             | A220 | A220-300 | BCS3 |
Bombardier CS300           | A220 | A220-300 | BCS3 |
BD-500-1A10 CSeries CS100  | A220 | A220-100 | BCS1 |
BD-500-1A11 CSeries CS300  | A220 | A220-300 | BCS3 |
BD-500-1A11 (A220-300)     | A220 | A220-300 | BCS3 |
Bombardier BD-500-1A11     | A220 | A220-300 | BCS3 |
BD-500                     | A220 |          |      |
"""

BOEING = """
707-123B             | 707 | 707-100   | B701 |
707-138B             | 707 | 707-100   | B701 |
707-227              | 707 | 707-200   |      |
707-321B             | 707 | 707-300   | B703 |
707-338C             | 707 | 707-300   | B703 |
707-3J6B             | 707 | 707-300   | B703 |
707-323C(F)          | 707 | 707-300   | B703 | freighter
707-436              | 707 | 707-400   |      |
717-200              | 717 | 717-200   | B712 |
717-231              | 717 | 717-200   | B712 |
717-2BL              | 717 | 717-200   | B712 |
717-148              |     |           |      | military
720-023B             | 720 |           | B720 |
720-047B             | 720 |           | B720 |
727-22               | 727 | 727-100   | B721 |
727-31               | 727 | 727-100   | B721 |
727-25C              | 727 | 727-100   | B721 |
727-30C              | 727 | 727-100   | B721 |
727-44F              | 727 | 727-100   | B721 | freighter
727-100              | 727 | 727-100   | B721 |
727-173C             | 727 | 727-100   | B721 |
727-21(RE) Super 27  | 727 | 727-100   | R721 |
727-223              | 727 | 727-200   | B722 |
727-225/Adv          | 727 | 727-200   | B722 |
727-225/Adv(F)       | 727 | 727-200   | B722 | freighter
727-227(Adv)         | 727 | 727-200   | B722 |
727-2S2F             | 727 | 727-200   | B722 | freighter
727-2S2F(ADV)        | 727 | 727-200   | B722 | freighter
727-2Q9(F)           | 727 | 727-200   | B722 | freighter
727-2X8/Adv(RE) Super 27 | 727 | 727-200 | R722 |
727-200F             | 727 | 727-200   | B722 | freighter
737-130              | 737 | 737-100   |      |
737-100              | 737 | 737-100   |      |
737-201/Adv          | 737 | 737-200   | B732 |
737-210C             | 737 | 737-200   | B732 |
737-230              | 737 | 737-200   | B732 |
737-247(ADV)         | 737 | 737-200   | B732 |
737-2H4              | 737 | 737-200   | B732 |
737-2T5              | 737 | 737-200   | B732 |
737-25A/Adv(F)       | 737 | 737-200   | B732 | freighter
T-43A                | 737 | 737-200   | B732 | military
737-301              | 737 | 737-300   | B733 |
737-301(SF)          | 737 | 737-300   | B733 | freighter
737-33A              | 737 | 737-300   | B733 |
737-33A(QC)          | 737 | 737-300   | B733 |
737-36N              | 737 | 737-300   | B733 |
737-376(SF)          | 737 | 737-300   | B733 | freighter
737-3H4              | 737 | 737-300   | B733 |
737-3H4(WL)          | 737 | 737-300   | B733 |
737-3Y0(F)           | 737 | 737-300   | B733 | freighter
737-31S(BDSF)        | 737 | 737-300   | B733 | freighter
737-436              | 737 | 737-400   | B734 |
737-46J              | 737 | 737-400   | B734 |
737-490              | 737 | 737-400   | B734 |
737-4Q8(SF)          | 737 | 737-400   | B734 | freighter
737-4Y0(BDSF)        | 737 | 737-400   | B734 | freighter
737-46QSF            | 737 | 737-400   | B734 | freighter
737-45D(SF)          | 737 | 737-400   | B734 | freighter
737-500              | 737 | 737-500   | B735 |
737-505              | 737 | 737-500   | B735 |
737-53A              | 737 | 737-500   | B735 |
737-5H6              | 737 | 737-500   | B735 |
737-524(WL)          | 737 | 737-500   | B735 |
737-683              | 737 | 737-600   | B736 |
737-6CT              | 737 | 737-600   | B736 |
737-6Q8              | 737 | 737-600   | B736 |
737-700(WL)          | 737 | 737-700   | B737 |
737-7H4              | 737 | 737-700   | B737 |
737-7H4(WL)          | 737 | 737-700   | B737 |
737-76J              | 737 | 737-700   | B737 |
737-73V              | 737 | 737-700   | B737 |
737-79P(WL)          | 737 | 737-700   | B737 |
737-752              | 737 | 737-700   | B737 |
737-790(SF)          | 737 | 737-700   | B737 | freighter
737-76N(BDSF)        | 737 | 737-700   | B737 | freighter
737-700C             | 737 | 737-700   | B737 |
737-7BC(BBJ)         | 737 | 737-700   | B737 | bizjet
737-7EG(BBJ)         | 737 | 737-700   | B737 | bizjet
737-7ED BBJ          | 737 | 737-700   | B737 | bizjet
737-700BBJ           | 737 | 737-700   | B737 | bizjet
BBJ1                 | 737 | 737-700   | B737 | bizjet
C-40A Clipper        | 737 | 737-700   | B737 | military
C-40B                | 737 | 737-700   | B737 | military
737-7ES Wedgetail    | 737 | 737-700 Wedgetail | E737 | military
E-7A Wedgetail       | 737 | 737-700 Wedgetail | E737 | military
E-7T Peace Eagle     | 737 | 737-700 Wedgetail | E737 | military
737-800              | 737 | 737-800   | B738 |
B737-800             | 737 | 737-800   | B738 |
B738                 | 737 | 737-800   | B738 |
737 800              | 737 | 737-800   | B738 |
737-8AS              | 737 | 737-800   | B738 |
737-8AS(WL)          | 737 | 737-800   | B738 |
737-8AS(SSWL)        | 737 | 737-800   | B738 |
737-8AS(BCF)         | 737 | 737-800   | B738 | freighter
737-846(WL)          | 737 | 737-800   | B738 |
737-823(SSWL)        | 737 | 737-800   | B738 |
737-82R(BCF)         | 737 | 737-800   | B738 | freighter
737-83NBCF           | 737 | 737-800   | B738 | freighter
737-86N(SF)          | 737 | 737-800   | B738 | freighter
737-800BCF           | 737 | 737-800   | B738 | freighter
737-800SF            | 737 | 737-800   | B738 | freighter
737-8F2              | 737 | 737-800   | B738 |
737-8K5(WL)          | 737 | 737-800   | B738 |
737-8HX(WL)          | 737 | 737-800   | B738 |
737-8MB(BBJ2)        | 737 | 737-800   | B738 | bizjet
737-8EX(BBJ2)        | 737 | 737-800   | B738 | bizjet
BBJ2                 | 737 | 737-800   | B738 | bizjet
737-BBJ2             | 737 | 737-800   | B738 | bizjet
P-8A Poseidon        | 737 | 737-800   | P8   | military
737-8FV P-8A Poseidon | 737 | 737-800  | P8   | military
P-8I                 | 737 | 737-800   | P8   | military
Poseidon MRA1        | 737 | 737-800   | P8   | military
737-924              | 737 | 737-900   | B739 |
737-932              | 737 | 737-900   | B739 |
737-990              | 737 | 737-900   | B739 |
737-924(ER)          | 737 | 737-900ER | B739 |
737-924ER(SSWL)      | 737 | 737-900ER | B739 |
737-9GP(ER)          | 737 | 737-900ER | B739 |
737-9GPER            | 737 | 737-900ER | B739 |
737-990(ER)          | 737 | 737-900ER | B739 |
BBJ3                 | 737 | 737-900ER | B739 | bizjet
737-9HW(ER)(BBJ3)    | 737 | 737-900ER | B739 | bizjet
B739                 | 737 |           | B739 |
737-7                | 737 | 737 MAX 7 | B37M |
737 MAX 7            | 737 | 737 MAX 7 | B37M |
737-8                | 737 | 737 MAX 8 | B38M |
737-8 MAX            | 737 | 737 MAX 8 | B38M |
737-8 (MAX)          | 737 | 737 MAX 8 | B38M |
737 MAX 8            | 737 | 737 MAX 8 | B38M |
737 MAX-8            | 737 | 737 MAX 8 | B38M |
737MAX8              | 737 | 737 MAX 8 | B38M |
MAX 8                | 737 | 737 MAX 8 | B38M |
737-8-200            | 737 | 737 MAX 8 | B38M |
737-8200             | 737 | 737 MAX 8 | B38M |
737 MAX 8-200        | 737 | 737 MAX 8 | B38M |
737 MAX 8200         | 737 | 737 MAX 8 | B38M |
737-8(BBJ)           | 737 | 737 MAX 8 | B38M | bizjet
BBJ MAX 8            | 737 | 737 MAX 8 | B38M | bizjet
B38M                 | 737 | 737 MAX 8 | B38M |
737-9                | 737 | 737 MAX 9 | B39M |
737-9 MAX            | 737 | 737 MAX 9 | B39M |
737-10               | 737 | 737 MAX 10 | B3XM |
737 MAX 10           | 737 | 737 MAX 10 | B3XM |
737 MAX              | 737 |           |      |
737 BBJ              | 737 |           |      | bizjet
737 Classic          | 737 |           |      |
737-8/9              | 737 |           |      |
737-700/800          | 737 |           |      |
737/757              |     |           |      |
747-121              | 747 | 747-100   | B741 |
747-121(A/SF)        | 747 | 747-100   | B741 | freighter
747-146B/SR          | 747 | 747-100   | B74R |
747SR-81             | 747 | 747SR     | B74R |
747SR-46(SF)         | 747 | 747SR     | B74R | freighter
747-206B             | 747 | 747-200   | B742 |
747-206B(SUD)        | 747 | 747-200   | B742 |
747-228F             | 747 | 747-200   | B742 | freighter
747-228F(SCD)        | 747 | 747-200   | B742 | freighter
747-243B(SF)         | 747 | 747-200   | B742 | freighter
747-281B(SF)         | 747 | 747-200   | B742 | freighter
747-2B5F             | 747 | 747-200   | B742 | freighter
747-2G4B             | 747 | 747-200   | B742 |
VC-25A (747-2G4B)    | 747 | 747-200   | B742 | military
E-4B                 | 747 | 747-200   | B742 | military
747-338              | 747 | 747-300   | B743 |
747-346              | 747 | 747-300   | B743 |
747-367              | 747 | 747-300   | B743 |
747-344(M)           | 747 | 747-300   | B743 |
747-3B5(M)(SF)       | 747 | 747-300   | B743 | freighter
747SP                | 747 | 747SP     | B74S |
747SP-21             | 747 | 747SP     | B74S |
747SP-44             | 747 | 747SP     | B74S |
747SP-21 SOFIA       | 747 | 747SP     | B74S | special
747-SP               | 747 | 747SP     | B74S |
747-400              | 747 | 747-400   | B744 |
747-412              | 747 | 747-400   | B744 |
747-436              | 747 | 747-400   | B744 |
747-438(ER)          | 747 | 747-400   | B744 |
747-446D             | 747 | 747-400   | B74D |
747-4F6              | 747 | 747-400   | B744 |
747-400M             | 747 | 747-400   | B744 |
747-45E(M)           | 747 | 747-400   | B744 |
747-406(M)           | 747 | 747-400   | B744 |
747-412(BCF)         | 747 | 747-400   | B744 | freighter
747-412F             | 747 | 747-400   | B744 | freighter
747-409F(SCD)        | 747 | 747-400   | B744 | freighter
747-47UF             | 747 | 747-400   | B744 | freighter
747-47UF/SCD         | 747 | 747-400   | B744 | freighter
747-48EF(SCD)        | 747 | 747-400   | B744 | freighter
747-45E(BDSF)        | 747 | 747-400   | B744 | freighter
747-4EVF(ER)         | 747 | 747-400   | B744 | freighter
747-4HAERF           | 747 | 747-400   | B744 | freighter
747-400ERF           | 747 | 747-400   | B744 | freighter
747-4H6(LCF)         | 747 | 747-400LCF | BLCF | freighter special
747-409(LCF) Dreamlifter | 747 | 747-400LCF | BLCF | freighter special
747-400LCF           | 747 | 747-400LCF | BLCF | freighter special
Dreamlifter          | 747 | 747-400LCF | BLCF | freighter special
747-830              | 747 | 747-8     | B748 |
747-8B5              | 747 | 747-8     | B748 |
747-8I               | 747 | 747-8     | B748 |
747-8 Intercontinental | 747 | 747-8   | B748 |
747-8F               | 747 | 747-8     | B748 | freighter
747-8HTF             | 747 | 747-8     | B748 | freighter
747-8KZF             | 747 | 747-8     | B748 | freighter
747-867F             | 747 | 747-8     | B748 | freighter
747-8R7F             | 747 | 747-8     | B748 | freighter
747-87UF             | 747 | 747-8     | B748 | freighter
747-8JK(BBJ)         | 747 | 747-8     | B748 | bizjet
VC-25B               | 747 | 747-8     | B748 | military
757-222              | 757 | 757-200   | B752 |
757-236              | 757 | 757-200   | B752 |
757-236(SF)          | 757 | 757-200   | B752 | freighter
757-24APF            | 757 | 757-200   | B752 | freighter
757-28A(PCF)         | 757 | 757-200   | B752 | freighter
757-2Q8(WL)          | 757 | 757-200   | B752 |
757-223(PCF)         | 757 | 757-200   | B752 | freighter
757-200PF            | 757 | 757-200   | B752 | freighter
757-23A              | 757 | 757-200   | B752 |
C-32A                | 757 | 757-200   | B752 | military
757-330              | 757 | 757-300   | B753 |
757-330(WL)          | 757 | 757-300   | B753 |
757-351              | 757 | 757-300   | B753 |
767-222              | 767 | 767-200   | B762 |
767-223(BDSF)        | 767 | 767-200   | B762 | freighter
767-281(BDSF)        | 767 | 767-200   | B762 | freighter
767-232(SF)          | 767 | 767-200   | B762 | freighter
767-223(ER)          | 767 | 767-200ER | B762 |
767-2Q8(ER)          | 767 | 767-200ER | B762 |
KC-767A              | 767 | 767-200ER | B762 | military
KC-767J              | 767 | 767-200ER | B762 | military
E-767                | 767 | 767-200ER | E767 | military
767-2C               | 767 |           |      |
KC-46A Pegasus       |     |           | B762 | military
767-332              | 767 | 767-300   | B763 |
767-346              | 767 | 767-300   | B763 |
767-36N(ER)          | 767 | 767-300ER | B763 |
767-31K(ER)(WL)      | 767 | 767-300ER | B763 |
767-3Q8(ER)(BDSF)    | 767 | 767-300ER | B763 | freighter
767-323ER(BCF)       | 767 | 767-300ER | B763 | freighter
767-300ER            | 767 | 767-300ER | B763 |
767-34AF(ER)         | 767 | 767-300   | B763 | freighter
767-300F             | 767 | 767-300   | B763 | freighter
767-300BDSF          | 767 | 767-300   | B763 | freighter
767-432ER            | 767 | 767-400ER | B764 |
767-424(ER)          | 767 | 767-400ER | B764 |
777-222              | 777 | 777-200   | B772 |
777-21H              | 777 | 777-200   | B772 |
777-2D7              | 777 | 777-200   | B772 |
777-21H(ER)          | 777 | 777-200ER | B772 |
777-2H6(ER)          | 777 | 777-200ER | B772 |
777-236ER            | 777 | 777-200ER | B772 |
777-200ER            | 777 | 777-200ER | B772 |
777-237(LR)          | 777 | 777-200LR | B77L |
777-2DZ(LR)          | 777 | 777-200LR | B77L |
777-232LR            | 777 | 777-200LR | B77L |
777-200LR            | 777 | 777-200LR | B77L |
777-F               | 777 | 777F      | B77L | freighter
777F                 | 777 | 777F      | B77L | freighter
777-F1H              | 777 | 777F      | B77L | freighter
777-FS2              | 777 | 777F      | B77L | freighter
777-FBT              | 777 | 777F      | B77L | freighter
777-F6N              | 777 | 777F      | B77L | freighter
777-FZN              | 777 | 777F      | B77L | freighter
777-200F             | 777 | 777F      | B77L | freighter
777-200LRF           | 777 | 777F      | B77L | freighter
777-312              | 777 | 777-300   | B773 |
777-346              | 777 | 777-300   | B773 |
777-367              | 777 | 777-300   | B773 |
777-31H(ER)          | 777 | 777-300ER | B77W |
777-31HER            | 777 | 777-300ER | B77W |
777-3B5ER            | 777 | 777-300ER | B77W |
777-3F2ER            | 777 | 777-300ER | B77W |
777-300ER            | 777 | 777-300ER | B77W |
777-36N(ERSF)        | 777 | 777-300ER | B77W | freighter
777-300ERSF          | 777 | 777-300ER | B77W | freighter
B77W                 | 777 | 777-300ER | B77W |
777-8                | 777 | 777-8     | B778 |
777-9                | 777 | 777-9     | B779 |
777-9X               | 777 | 777-9     | B779 |
777X                 | 777 |           |      |
787-8                | 787 | 787-8     | B788 |
787-8 Dreamliner     | 787 | 787-8     | B788 |
787-8(BBJ)           | 787 | 787-8     | B788 | bizjet
BBJ 787-8            | 787 | 787-8     | B788 | bizjet
787-9                | 787 | 787-9     | B789 |
787-9 Dreamliner     | 787 | 787-9     | B789 |
787-10               | 787 | 787-10    | B78X |
787 Dreamliner       | 787 |           |      |
787-8/9              | 787 |           |      |
E-3A Sentry          |     |           |      | military
E-3B Sentry          |     |           | E3TF | military
E-3C                 |     |           | E3TF | military
E-3D Sentry AEW1     |     |           | E3CF | military
E-3F                 |     |           | E3CF | military
E-6B Mercury         |     |           | E6   | military
KC-135R Stratotanker |     |           | K35R | military
KC-135E              |     |           | K35E | military
RC-135W              |     |           | R135 | military
C-17A Globemaster III |    |           | C17  | military
B-52H Stratofortress |     |           | B52  | military
Stearman             |     |           |      |
314 Clipper          |     |           |      |
Dash 80              |     |           |      |
777-300-ER           | 777 | 777-300ER  | B77W |
777 F                | 777 | 777F       | B77L | freighter
777-200 F            | 777 | 777F       | B77L | freighter
777-200 Freighter    | 777 | 777F       | B77L | freighter
767-34AFER           | 767 | 767-300    | B763 | freighter
737-800 MAX          | 737 |            |      |
737-900 MAX          | 737 |            |      |
737--8AS             | 737 | 737-800    | B738 |
787 9                | 787 | 787-9      | B789 |
787 9 Dreamliner     | 787 | 787-9      | B789 |
787 10 years         | 787 |            |      |
777 F-GSPZ           | 777 |            |      |
777-200 F-GSPA       | 777 | 777-200    | B772 |
747 8                | 747 | 747-8      | B748 |
BBJ 2                | 737 | 737-800    | B738 | bizjet
BBJ-3                | 737 | 737-900ER  | B739 | bizjet
737-700 AEW&C        | 737 | 737-700 Wedgetail | E737 | military
747LCF               | 747 | 747-400LCF | BLCF | freighter special
747 Large Cargo Freighter | 747 | 747-400LCF | BLCF | freighter special
747-123 Shuttle Carrier Aircraft | 747 | 747-100    | B741 | special
YAL-1A               | 747 | 747-400    | B744 | military special
C-22B                | 727 | 727-100    | B721 | military
KC46A                |     |            | B762 | military
P8A                  | 737 | 737-800    | P8   | military
C17A                 |     |            | C17  | military
737-300/737-400      | 737 |            |      |
737-700, 180 seats   | 737 | 737-700    | B737 |
737-300, -500        | 737 |            |      |
737-700, 737-800     | 737 |            |      |
737-300/757-200      |     |            |      |
"""

ATR = """
42-300               | 42 | 42-300 | AT43 |
42-320               | 42 |        |      |
42-500               | 42 | 42-500 | AT45 |
42-600               | 42 | 42-600 | AT46 |
72-202               | 72 |        |      |
72-202(F)            | 72 |        |      | freighter
72-212A              | 72 |        |      |
72-500               | 72 | 72-500 | AT75 |
72-600               | 72 | 72-600 | AT76 |
72-600F              | 72 | 72-600 | AT76 | freighter
ATR 72-600           | 72 | 72-600 | AT76 |
AT76                 | 72 | 72-600 | AT76 |
"""


def expected(
    constructor: str, table: str, path_constructor: str = ""
) -> list[tuple[str, str, LabelPath, str, list[str]]]:
    rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [
        (
            constructor,
            text,
            LabelPath(path_constructor or constructor, family or None, model or None),
            icao,
            roles.split(),
        )
        for text, family, model, icao, roles in rows
    ]


TABLE = [*expected("Airbus", AIRBUS), *expected("Bombardier", BOMBARDIER, "Airbus"), *expected("ATR", ATR)]
TABLE += expected("Boeing", BOEING)


@pytest.mark.parametrize(("constructor", "text", "path", "icao", "roles"), TABLE)
def test_each_type_text_has_its_path_designator_and_roles(
    constructor: str, text: str, path: LabelPath, icao: str, roles: list[str]
) -> None:
    label = parse_label(constructor, text)
    assert (label.path, label.icao, list(label.roles)) == (path, icao, roles)
    assert isinstance(label, Label)
    assert label.text == text
    assert label.explanation


def test_the_table_has_no_duplicates() -> None:
    texts = [text for _, text, _, _, _ in TABLE]
    assert len(set(texts)) == len(texts) >= 300
