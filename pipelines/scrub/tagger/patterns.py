"""Patterns of sentences, with slots in braces; sentences.LABEL says what is in a slot."""

# Each line a pattern; grouped by what it plants.
ENGLISH = r"""
I am {someone} and I forgot my password.
my name is {someone}, can you help me?
Hello, {someone} here, calling about the {noun}.
This is {title} {someone} speaking, with whom do I have the pleasure?
Hi {given},
Dear {title} {family},
Dear {given}, thanks for your {noun}.
Best regards,\n{person}
Cheers, {given}
{someone} said that the {noun} was {quality}.
"The {noun} is {quality}," says {someone}, the {role}.
{someone} told {someone} about the {noun}.
{someone} asked: "Is the {noun} {quality}?"
Agent: Who owns the account? Customer: {someone}
Name on the card? {person}
Your surname, please? {family}
Please add my {kin} {someone} to the {noun}.
We listened to {someone} all day; {someone} is a great musician.
The new record by {someone} is {quality}.
A {noun} written by {someone} and produced by {someone} in {year}.
{someone} and {someone} wrote the {noun} together.
The {family} family moved to {place} in {year}.
{someone}'s {thing} is {quality}, but {family} never liked it.
I never understood {someone}'s {noun}.
Did you see {someone} on {day}?
Have you met {someone}? {given} works for {company}.
{person} ({role}, {company}) joined us in {year}.
{person} of {company} will give the opening talk.
{person} works at {company} as a {role}.
{person}, {role} at {company}, comes from {place}.
{company} was founded by {person}, {person} and {person} in {year}.
Our team: {given}, {given}, {given} and {given}.
The authors are {family}, {family} and {family}.
{title} {person}, {num} years old, was born in {place}.
{title} {family} travelled from {place} to {place} on {date}.
Police in {place} arrested {person} on {day}.
The {nrp} player {person} won in {place}.
{person} was {quality} and everybody in {place} knew it.
Written by {person}
Directed by: {person}
Starring {person} and {person}, directed by {person}.
Contact: {person}, {phone}
Reported-by: {person}
Thanks to {person} for the {noun}.
Thanks, {given}!
Patch from {person}, closes #{num}.
Patch by {person} and {person}. (Closes: #{num})
[ {person} ]\n* Fix the {noun}.
* New maintainer: {person}.
* Update the {noun}, thanks to {person}.
Copyright {year} {person}
(c) {year}-{year} {person} and others
Author: {person}
Maintained by {person} since {year}.
The {noun} was reported by {person} and fixed by {person}.
The {noun} is based on work by {person} and {person}.
named after the mathematician {person}
See {family} and {family} ({year}) for the {noun}.
implements the algorithm of {family} et al.
I come from {place}.
Where are you from? {place}
We are going to {place} in {month}.
My {kin} moved from {place} to {place}.
Is {place} worth a visit?
{place} and {place} signed the {noun} in {year}.
The {noun} in {place} was {quality}.
In {place} the {noun} is {quality}.
The government of {place} said on {day} that the {noun} is {quality}.
{place}'s {role} gave a speech.
The {place} {thing} opens in {month}.
{company}, based in {place}, sells the {noun}.
I arrived in {place} this morning and leave for {place} on {day}.
The {role} of {place} visited southern {place}.
I live in {place}, {place}
Please send it to {address}
Please send the {noun} to {address}, thank you.
Deliver to: {address}
Ship it to {address} before {day}.
Shipping address:\n{person}\n{address}
Name:   {person}\nStreet: {line}\nCity: {place}\nPhone: {phone}
{person}\n{line}\n{place}\n{place} {postcode}
{person}\n\n{line} {unit}\n {place}\n {place} {postcode}
{person}\n{company}\n{address}
{person}\n{role}\n{company}\n{address}\n{phone}
{company}\n{address}
>{person}\n>{company}\n>{line}\n>{place}\n>{place} {postcode}
> {person}\n> {line}\n> {unit}\n> {place}\n> {place} {postcode}
* {person}\n* {company}\n* {line} {unit}\n* {place}
-- {person}\n-- {line}\n-- {place} {postcode}
{line} {unit}\n {place}\n {place} {postcode}
{address}
{line}
{title} {person} {line} {unit} {place} {postcode}
Let us meet at {address} at {time}.
The shop is at {address}. They have {nrp} food.
The hotel is located at {address}
The headquarters of {company}: {address}
{person} lives in {street}.
He used to live on {street} street.
I lived in {address} for {num} years and now live in {address}.
The entrance is on {line}.
Take me to {address} and call me when you are there.
Where should we send it? User: {address}
Your letter from {address} came yesterday.
My addresses are {address} and {address}.
ZIP {postcode}
Please call {phone} or write to us.
You can reach {person} at {phone}.
my phone number: {phone}
Phone: {phone}
Tel. {phone}, Fax {phone}
tel: {phone}
Mobile: {phone}\nOffice: {phone}
{phone} (mobile)
{phone} office\n{phone} fax
WhatsApp {phone}
{person}\n{phone}
{person}\n\n{role}\n\nPhone:\n{phone}\n\nWebsite:\nhttp://www.{word}.com/\n\nAddress:\n{address}.
Could {title} {person} ring me on {phone} about the {noun}?
my card {card} was stolen
Card: {card}
Please block credit card {card} at once.
I lost my card {card} in {place}.
Has the payment with {card} gone through?
Charge it to {card}, expires {num}/{num}.
credit card {card}, name {person}
The number is {card}
Send a new card to {address}, the old one is {card}.
cc {card}, billing address {address}
How much is left on {card}? I paid with it in {place}.
My account number is {num}.
The order {num} has not arrived.
Invoice {num} of {date} is over {num} euros.
Error code {num}: the {noun} is {quality}.
Version {num}.{num}.{num} of {brand} is out.
{brand} is a {noun} for {brand}.
The {brand} {thing} needs {brand} {num} or later.
{company} and {company} merged in {year}.
I used to work at {company} as a {role}.
{company} spends a lot on the {noun}.
Born on {date}.
Her birthday is {date}, she is {num} years old.
It has been {quality} since {date}.
The meeting is on {day} at {time}.
The {nrp} government met on {day}.
SSN {ssn}
IBAN: {iban}
Transfer it from {iban} to {iban}.
The server {ip} is down.
WHY IS THE {noun} {quality}?
Why is the {noun} {quality}? Nobody knows.
What does the {role} want?
Can I talk to the {role}?
Experienced {role} with {num} years in {field}.
Comedy, Drama, Science Fiction & Fantasy
The Act of {year} forbids the {noun}.
Monday is a bad day for the {noun}.
"{thing} of the {noun}", a song from {year}
Patient, {num}, has a history of {noun}.
This {num} year old woman has a {noun}.
"""
GERMAN = r"""
Mein Name ist {someone}.
Hier spricht {title} {family}, es geht um {noun}.
Sehr geehrter Herr {family},
Sehr geehrte Frau {family}, danke für Ihre Nachricht.
Hallo {given},
Mit freundlichen Grüßen\n{person}
Viele Grüße, {given}
{someone} sagte am {day}, das sei {quality}.
{person} arbeitet bei {company} in {place}.
Mein {kin} {person} wohnt in {place}.
Dank an {person} für den Hinweis.
Autor: {person}
Übersetzt von {person}.
Patch von {person} (Closes: #{num})
{person} und {person} haben das geschrieben.
Ich komme aus {place}.
Wir fahren im {month} nach {place}.
Die Regierung von {place} tagte am {day}.
{company} hat den Sitz in {place}.
Meine Adresse: {address}
Bitte schicken Sie es an {address}.
{person}\n{line}\n{postcode} {place}
{company}\n{line}\n{postcode} {place}\nTelefon: {phone}
Wir treffen uns in der {street}.
Meine Nummer ist {phone}
Telefon: {phone}, Fax: {phone}
Rufen Sie mich unter {phone} an.
Meine Karte {card} ist weg.
Kartennummer: {card}
Bitte sperren Sie die Kreditkarte {card}.
Postleitzahl {postcode}
Die Bestellung {num} ist nicht da.
Version {num}.{num} von {brand} ist da.
{brand} ist ein Programm für {brand}.
Die Datei {word} ist {quality}.
IBAN {iban}
Der Server {ip} ist aus.
Das Gesetz von {year} gilt am {date}.
"""
FRENCH = r"""
Je m'appelle {someone}.
Bonjour, ici {title} {family}, c'est au sujet de {noun}.
Cher {given},
Cordialement,\n{person}
{someone} a dit que c'est {quality}.
{person} travaille chez {company} à {place}.
Merci à {person} pour le correctif.
Auteur : {person}
Traduit par {person}.
{person} et {person} l'ont écrit en {year}.
Je viens de {place}.
Nous partons à {place} en {month}.
Le gouvernement de {place} a parlé le {date}.
{company} a son siège à {place}.
Mon adresse : {address}
Envoyez-le à {address}, merci.
{person}\n{line}\n{postcode} {place}
{company}\n{line}\n{postcode} {place}\nTél. : {phone}
Rendez-vous {street}.
Mon numéro est le {phone}
Téléphone : {phone}
Appelez-moi au {phone}.
Ma carte {card} est perdue.
Numéro de carte : {card}
Bloquez la carte de crédit {card}.
Code postal {postcode}
La commande {num} n'est pas arrivée.
La version {num}.{num} de {brand} est sortie.
{brand} est un logiciel pour {brand}.
Le fichier {word} est {quality}.
IBAN {iban}
Le serveur {ip} est en panne.
La loi de {year} date du {date}.
"""
PATTERNS = {
    language: tuple(line.replace("\\n", "\n") for line in lines.strip().split("\n"))
    for language, lines in (("en", ENGLISH), ("de", GERMAN), ("fr", FRENCH))
}
