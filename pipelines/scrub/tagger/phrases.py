"""Clauses that openings and ends are put around, so that the tagger learns a value's neighbours and not whole sentences."""

OPENINGS = (
    "", "", "", "", "", "I hear that ", "Honestly, ", "As far as I know, ", "By the way, ", "Well, ", "On {day}, ",
    "Last {month} ",
    "They say ", "In {year}, ", "Somehow ", "Maybe ", "- ", "Note: ", "It seems that ", "And ", "Then ", "Q: ", "* ", "PS: ",
    "Oh ", "Oh, well, ", "Great, ", "Fine, ",
    "Yes, ", "No, ", "Wow, ", "Okay, ", "Hm. ", "Why? ", "So ",
    "{given}, ", "Sorry {given}, ", "Listen, ", "We know that ", "Of course ", "Since {year} ", "Again, ", "Because of this, ",
)  # fmt: skip
ENDS = (
    ".", ".", ".", ".", "!", "?", "", "", ", I think.", " on {day}.", " since {year}.", ", but the {noun} was {quality}.",
    " in {place}.", " near {place}.", ", says {someone}.", " because of the {noun}.", ", as {family} did.", " at {time}.",
    " for {num} years.", " with {someone}.", " again.", ", right?", " and {someone}.", " (see page {num}).",
    ", thanks {given}.",
    " before {date}.", ";", ":", " of {company}.", ", {given}?",
)  # fmt: skip
# A name between any two words: the tagger has to know it whatever stands beside it. Sense is not needed.
ANYWHERE = 4 * (
    "{before} {someone} {after} the {noun}",
    "the {noun} {before} {someone} {after} it",
    "{someone} {after} {before} the {noun}",
    "{before} {someone}, the {quality} {noun} {before} us",
    "we {before} {someone} {after} we {before} {someone}",
)
CLAUSES = r"""
{someone} called about the {noun}
{someone} is on holiday
{someone} was a kind man
{someone} has left {company}
{someone} and {someone} are getting married
{someone} plays the violin
{someone} sang better than {someone}
{someone} won the race
{someone} will be late
{someone} wants a refund
{someone} never answers
{someone} recorded the {noun}
{someone}, who lives next door, has the key
{someone}, {num}, was seen near the station
{someone} loves {given}
{someone} owes me {num} euros
{someone} signed the {noun}
{someone} can't log in
{someone} doesn't like the {quality} {noun}
{someone} seems {quality} today
the {role}, {someone}, resigned
the {nrp} {role} {someone} was elected
the singer {someone} is {quality}
our {role} {title} {family} said no
{title} {someone} examined the patient
I spoke to {someone} about the {noun}
we asked {someone} for help
let me introduce {someone}
please greet {someone} from me
who is {someone}
is {someone} there
do you remember {someone}
did you invite {someone}
has {someone} arrived
have you read {someone}
will {someone} sing tonight
was {someone} angry
hand it to {someone}
I gave it to {someone}
it goes to {someone}, not to {someone}
the prize went to {someone}
we wrote to {someone}
between {someone} and {someone} nothing works
{someone} and {someone} were friends
{someone} had promised {given} a {noun}
{someone} is known as {given}
{family} and {family} made the {noun}
for {someone} and for {given}
I saw {someone} with {someone} and {someone}
the {noun} belongs to {someone}
the {noun} was meant for {someone}
a letter from {someone} to {someone}
a {noun} about {someone} and {given}
the life of {someone}
nobody believes {someone}
give {given} the {noun}
tell {given} that the {noun} is {quality}
we named the cat {given}
the account of {someone} is locked
it reads {someone} instead of {someone}
present: {someone}, {someone}, {someone}
guests were {given}, {given}, {given}, {given} and {given}
{given} & {given} are coming
{given} or {given} will help you
{family} and {family} found that the {noun} is {quality}
{family}'s early {noun} is {quality}
critics of {family} disagree
a Mr {family} phoned
{company} and {company} compete
{company} was {quality}, {brand} is not
shares of {company} fell
people at {company} use {brand}
{someone} from {place} wrote it
{someone} grew up in {place} and moved to {place}
{someone} was born in {place}
{someone} stays at {line}, {place}
{someone}'s new home is {address}
we flew from {place} to {place}
the weather in {place} is {quality}
trains to {place} are {quality}
the mayor of {place} spoke
people in {place} speak {nrp}
the war in {place} ended
the road between {place} and {place} is closed
{place} won against {place}
{place} has {num} inhabitants
our branch in {place}, {place} closes
greetings from sunny {place}
visit {place}
a flat in {street} costs {num}
the shop on {street} is {quality}
you find us at {line}
go along {street} to {line}
between {street} and {street} there is a {thing}
{line} is the place
the parcel went to {address}
pick it up at {address}
please deliver to {address}
I now live at {address}
the old address, {address}, is wrong
both {address} and {address} are {quality}
post code {postcode}, {place}
{place} {postcode} is the right one
ring {phone} for help
{phone} does not work
text {phone} or {phone}
use {phone} instead
a message from {phone}
I called {phone} twice
it was sent to {phone}
they phoned from {phone}
someone answers under {phone}
dial {phone}, then wait
my {kin} has {phone} now
the line {phone} is {quality}
your SMS to {phone} came
is {phone} yours
the {noun} went out to {phone} on {date}
desk {phone}, mobile {phone}, home {phone}
the fax {phone} is {quality}
pay with {card}
the card {card} was declined
{card} is not mine
card ending; the full number is {card}
The Last {thing} is a {nrp} {thing}
{brand} {thing} needs {brand}
Big {thing} of the Year
the {nrp} {role} likes {nrp} food
NEW {noun} AVAILABLE
the {noun} {word} has {num} rows
the host {ip} is {quality}
the address {ip} does not answer
the {num}s were {quality}
order {num} arrived on {date}
I am {num} years old and {nrp}
Experience in Sales and {field}
{someone} who lives next door has the key
the {role} is {someone} who likes the {noun}
I mean {someone} who can swim
we thank {someone} whose {noun} was {quality}
not {someone} but {someone} wrote it
{someone}, whose {noun} is {quality}, agrees
was that {someone} who rang
{someone} that I know is {quality}
"""
